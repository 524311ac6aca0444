# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report what was verified of the hosts, on the controller; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "plan": {"type": "dict", "required": True},
        "register": {"type": "str", "required": True},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what was seen on each member."""
        hosts = task_vars["hostvars"]
        seen = {name: hosts[name].get(asked["register"]) or {} for name in asked["plan"]["changes"]}
        return {"checks": {name: one["checks"] for name, one in seen.items() if "checks" in one}}
