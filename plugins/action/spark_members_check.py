# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check who is in the cluster, on the controller; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.members import MembersError, check
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "option": {"type": "str", "default": "spark_members"},
    }
    ERRORS = (MembersError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the leader, the workers and this host's rank."""
        members = asked["members"]
        hosts = task_vars["hostvars"]
        known = [name for name in members if name in hosts]
        return check(
            members,
            option=asked["option"],
            host=task_vars["inventory_hostname"],
            play_hosts=task_vars["ansible_play_hosts_all"],
            alive=task_vars["ansible_play_hosts"],
            addresses={name: str(hosts[name].get("ansible_host", name)) for name in known},
            forks=int(task_vars["ansible_forks"]),
        )
