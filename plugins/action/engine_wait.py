# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until a server serves; the module of this name documents it."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.state import is_of, problems_of
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.in_place import InPlace

ASK = "sparkops.dgx_spark.engine_state_info"


def serves(seen: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Whether a state that was read before is that of an engine that serves, with nothing wrong."""
    if not seen or seen.get("began") == asked.get("ignore_started_at"):
        return False
    return problems_of(seen, asked["config_digest"], asked["members"], asked["require_rdma"]) == (True, [])


class ActionModule(ActionBase):
    """Runs on the controller."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what was last said of it."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validated, asked = self.validate_argument_spec(
            argument_spec={
                "path": {"type": "str", "required": True},
                "config_digest": {"type": "str", "required": True},
                "members": {"type": "list", "elements": "str", "required": True},
                "require_rdma": {"type": "bool", "default": True},
                "stack": {"type": "str", "default": ""},
                "ignore_started_at": {"type": "float", "default": 0},
                "timeout": {"type": "int", "default": 1800},
                "waiting_timeout": {"type": "int", "default": 300},
                "interval": {"type": "int", "default": 2},
                "seen": {"type": "dict", "default": {}},
            }
        )
        seen = asked.pop("seen")
        if serves(seen, asked):
            return {"changed": False, "settled": True, "problems": [], "state": seen, "waited_s": 0.0}
        timeout, interval, patience = (asked.pop(name) for name in ("timeout", "interval", "waiting_timeout"))
        began, shown = time.monotonic(), InPlace(self._display, (task_vars or {})["inventory_hostname"])
        start_began, starts, last_active = began, 0, began
        while True:
            found = self._execute_module(ASK, module_args=asked, task_vars=task_vars)
            asked.setdefault("since", found.get("now", 0))
            waited = time.monotonic() - began
            state = found.get("state") or {}
            if state.get("starts", 0) > starts:  # the supervisor has begun another, which has as much time as the first
                start_began, starts = time.monotonic(), state["starts"]
            waits = state.get("phase") == contract.WAITING and not state.get(
                "behind"
            )  # else another engine loads first
            if is_of(state, asked["config_digest"]) and not waits:
                last_active = time.monotonic()
            over = time.monotonic() - start_began > timeout or time.monotonic() - last_active > patience
            if found.get("failed") or found["settled"] or self._task.check_mode or over:
                shown.end()
                return {**found, "waited_s": round(waited, 1)}
            shown.say("; ".join(found["problems"]), f" ({waited:.0f} s)")
            time.sleep(interval)
