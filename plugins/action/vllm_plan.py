# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the configuration of vLLM, on the controller; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import vllm
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._engine.plan import KEEP_FACTS, EnginePlan

CHANGES: tuple[str, ...] = (KEEP_FACTS,)


class ActionModule(EnginePlan):
    """Runs on the controller."""

    ENGINE = vllm.ENGINE
    SPECULATION = "speculative_config"
    SPEC: ClassVar[dict[str, Any]] = {**EnginePlan.SPEC, "alias": {"type": "str", "default": ""}}
