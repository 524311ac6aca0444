# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the configuration of vLLM, on the controller; the module of this name documents it."""

from __future__ import annotations

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import vllm
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._engine.plan import EnginePlan

#: the configuration of vLLM is no change by itself, those are engine_plan's
CHANGES: tuple[str, ...] = ()


class ActionModule(EnginePlan):
    """Runs on the controller."""

    ENGINE = vllm.ENGINE
    SPECULATION = "speculative_config"
