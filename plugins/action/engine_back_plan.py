# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan whether what last served is put back, on the controller; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import going_back
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner

FAILED = "ansible_failed_result"  # Ansible's own, of a host whose task failed in a block with a rescue


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "plan": {"type": "dict", "required": True},
        "members": {"type": "list", "elements": "str", "required": True},
        "keys_lost": {"type": "bool", "required": True},
        "reached": {"type": "str", "required": True},
        "kept": {"type": "str", "required": True},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return why the planned serving does not serve, and whether what last served can be put back."""
        hostvars, plan = task_vars["hostvars"], asked["plan"]
        told = {
            name: going_back.Told(
                answers=registered(hostvars, name, asked["reached"]).get("msg") == name,
                failed=registered(hostvars, name, FAILED),
                kept=registered(hostvars, name, asked["kept"]),
            )
            for name in asked["members"]
        }
        return going_back.plan(told, plan["launcher"], plan["last_good"], asked["keys_lost"], plan.get("former"))


def registered(hostvars: Mapping[str, Any], name: str, variable: str) -> Mapping[str, Any]:
    """A result that a host has in a variable; empty where it has none, such as one that cannot be reached."""
    found = hostvars[name].get(variable)
    return found if isinstance(found, Mapping) else {}
