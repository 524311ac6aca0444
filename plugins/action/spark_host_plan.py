# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan what every host is to have, on the controller; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._spark_host.plan import (
    CHANGES,
    Member,
    SparkHostError,
    Wanted,
    address_of,
    plan,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner

__all__ = ["CHANGES", "ActionModule"]


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "register": {"type": "str", "required": True},
    }
    ERRORS = (SparkHostError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan of all members, to every member."""
        hosts = task_vars["hostvars"]
        members = []
        for name in asked["members"]:
            found = hosts[name][asked["register"]]
            reach = str(hosts[name].get("ansible_host", name))
            members.append(Member(name, Wanted(**found["wanted"]), found, address_of(reach, found["management"])))
        return plan(members)
