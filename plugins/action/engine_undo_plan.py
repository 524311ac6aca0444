# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan what an undo removes of a serving, on the controller; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import changes as planning
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

#: the names of all changes
CHANGES = planning.UNDO_NAMES


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "found": {"type": "dict", "required": True},
        "gives_way": {"type": "bool", "default": False},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the changes of all hosts that were looked at."""
        found = {name: one for name, one in asked["found"].items() if one and "entries" in one}
        host = task_vars["inventory_hostname"]
        if host not in found:
            raise PlanError(f"nothing is known of {host}: read the serving there first")
        # For the roles whose undo follows: under check mode what is removed here still runs when they look.
        earlier: list[str] = (task_vars.get("engine_serve_plan") or {}).get("ending", [])
        ending = sorted({*earlier, *(one["layout"]["name"] for one in found.values())})
        gives_way = bool(asked.get("gives_way"))
        return {
            "changes": {name: list(planning.undo_changes(found, name, ending, gives_way)) for name in found},
            "ending": ending,
            "left": sorted(
                {
                    name
                    for one in found.values()
                    for name in (*planning.left_of(one, ending), *planning.left_by_others(one, ending))
                }
            ),
        }
