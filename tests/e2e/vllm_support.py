# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real vLLM in a lab, built for processors, and the stand-in for it: their processes have the same titles."""

from __future__ import annotations

from .every_node_support import Served

MAIN, CORE, RANK = "bin/[v]llm serve", "[V]LLM::EngineCore", "[V]LLM::Worker"
REAL = Served("vllm", "vllm", (MAIN, CORE, RANK), (MAIN, RANK))
STAND_IN = Served("vllm-simulated", "vllm", (MAIN, CORE, RANK), (MAIN, RANK))
MODEL = str(REAL.options["spark_model"])
