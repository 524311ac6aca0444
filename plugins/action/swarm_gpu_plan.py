# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a Docker Swarm that hands out GPUs, on the controller; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm_plan import CHANGES, plan
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.toolkit_plan import DockerPlanError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner

__all__ = ["CHANGES", "ActionModule"]


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "dict", "required": True},
        "toolkit": {"type": "dict", "default": {}},
    }
    ERRORS = (DockerPlanError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan of all members."""
        return plan(asked["members"], asked["toolkit"], task_vars["inventory_hostname"])
