# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say how a person's computer reaches the Sparks, on the controller; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup import access
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.access import AccessError, Host, Tunnel
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "instances": {"type": "list", "elements": "dict", "default": []},
        "tunnels": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "what": {"type": "str", "required": True},
                "port": {"type": "int", "required": True},
                "local": {"type": "int", "default": 0},
            },
        },
        "key": {"type": "str", "default": "", "no_log": False},
        "jump": {"type": "str", "default": ""},
        "path": {"type": "path", "default": ""},
    }
    ERRORS = (AccessError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the file's text, and where things are then."""
        access.refuse_foreign(asked["path"])
        hosts = []
        for name in asked["members"]:
            own = task_vars["hostvars"][name]
            address, port = str(own.get("ansible_host", name)), int(own.get("ansible_port") or 0)
            hosts.append(Host(name, address, str(own.get("ansible_user") or ""), port, asked["jump"]))
        more = [Tunnel(one["what"], one["port"], one["local"]) for one in asked["tunnels"]]
        tunnels = access.placed([*access.api_tunnels(asked["instances"]), *more])
        return {
            "content": access.text(hosts, tunnels, asked["key"]),
            "places": access.commands(tunnels),
            "command": f"ssh -N {hosts[0].name}-tunnels" if tunnels else "",
        }
