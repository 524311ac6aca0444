# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report a gateway to every member, on the controller; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "plan": {"type": "dict", "required": True},
        "checked": {"type": "dict", "default": {}},
        "keys": {"type": "list", "elements": "str", "default": []},
        "authority": {"type": "str", "default": ""},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what clients need to know."""
        planned = asked["plan"]
        return {
            **{name: planned.get(name) for name in ("exposure", "url", "instance")},
            "model": planned.get("model", ""),
            "clients": asked["checked"].get("clients", planned.get("clients", [])),
            "keys": asked["keys"],
            "authority": asked["authority"],
            "exposed": planned.get("exposed", []),
            "checks": asked["checked"].get("checks", []),
        }
