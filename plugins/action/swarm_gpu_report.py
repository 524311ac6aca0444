# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report the nodes of a swarm to every member, on the controller; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "nodes": {"type": "dict", "required": True},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the nodes, in rank order."""
        missing = [member for member in asked["members"] if member not in asked["nodes"]]
        if missing:
            raise PlanError(f"the leader did not check {', '.join(missing)}: see its message above")
        return {"nodes": {member: asked["nodes"][member] for member in asked["members"]}}
