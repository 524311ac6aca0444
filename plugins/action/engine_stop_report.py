# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report what was stopped, on the controller; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import lifecycle
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.requests import counted
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "plan": {"type": "dict", "required": True},
        "drained": {"type": "dict", "default": {}},
        "ended": {"type": "dict", "default": {}},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the report."""
        plan, cut = asked["plan"], asked["ended"].get("requests_cut")
        stopped = [
            name for name, some in plan["changes"].items() if any(one["name"] == lifecycle.STOP_ENGINE for one in some)
        ]
        return {
            "instance": plan["instance"],
            "launcher": plan["launcher"],
            "sparks": stopped,
            "waited_s": asked["drained"].get("waited_s", 0.0),
            "requests_cut": cut,
            "serves_beside": plan["serves_beside"],
            "words": words(stopped, cut, plan),
        }


def words(stopped: list[str], cut: int | None, plan: dict[str, Any]) -> str:
    """What was done, in a sentence."""
    name, leader = plan["layout"]["name"], plan["cluster"]["nodes"][0]["name"]
    if not stopped:
        return f"{name} was stopped before, and stays so"
    where = f"{leader} alone, which ends the engine everywhere" if plan["local_only"] else " and ".join(stopped)
    lost = "" if cut is None else f"; {counted(cut)} {'was' if cut == 1 else 'were'} cut off"
    return f"{name} was stopped on {where}{lost}. start.yml starts it again"
