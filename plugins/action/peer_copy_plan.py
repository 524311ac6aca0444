# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a copy of files between Sparks; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.plan import CHANGES, PeerPlanError, plan
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner

__all__ = ["CHANGES", "ActionModule"]


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "name": {"type": "str", "required": True},
        "members": {"type": "dict", "required": True},
        "reserve_gb": {"type": "int", "default": 20},
    }
    ERRORS = (PeerPlanError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the changes of all members, and where this host has the files, or is to have them."""
        members = asked["members"]
        own = members[task_vars["inventory_hostname"]]
        return {
            "changes": plan(asked["name"], asked["reserve_gb"], members),
            "receivers": [host for host, found in members.items() if found["problems"]],
            "directory": own["directory"],
            "complete": not own["problems"],
        }
