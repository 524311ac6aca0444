# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for SGLang in a lab."""

from __future__ import annotations

from .every_node_support import Served

MAIN, RANK, DETOKENIZER = "^python3 -m [s]glang.launch_server", "[s]glang::scheduler", "[s]glang::detokenizer"
STAND_IN = Served("sglang", "sglang", (MAIN, RANK, DETOKENIZER), (MAIN, RANK))
