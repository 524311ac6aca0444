# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report whether a Spark has the planned model; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.plan import ModelPlanError, report
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "plan": {"type": "dict", "required": True},
        "verified": {"type": "dict", "default": {}},
        "applied": {"type": "bool", "default": False},
    }
    ERRORS = (ModelPlanError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the verified facts of this host's model."""
        verified = asked["verified"] if "snapshot" in asked["verified"] else None
        return report(task_vars["inventory_hostname"], asked["plan"], verified, asked["applied"])
