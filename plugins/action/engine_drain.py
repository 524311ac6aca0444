# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until no request runs, up to a limit; the module of this name documents it."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.requests import counted

ASK = "sparkops.dgx_spark.engine_requests_info"


class ActionModule(ActionBase):
    """Runs on the controller."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return how many requests ran in the end."""
        super().run(tmp, task_vars)
        _validated, asked = self.validate_argument_spec(
            argument_spec={
                "address": {"type": "str", "required": True},
                "limit": {"type": "int", "default": 120},
                "interval": {"type": "float", "default": 1},
            }
        )
        host, limit = (task_vars or {})["inventory_hostname"], asked["limit"]
        began, shown = time.monotonic(), 0
        while True:
            found = self._execute_module(ASK, module_args={"address": asked["address"]}, task_vars=task_vars)
            waited = time.monotonic() - began
            if found.get("failed") or not found["running"] or waited >= limit or self._task.check_mode:
                return {**found, "waited_s": round(waited, 1)}
            if found["running"] != shown:
                shown = found["running"]
                left = f"waited for, {limit - waited:.0f} s at most"
                self._display.display(f"{host}: {counted(shown)} {'is' if shown == 1 else 'are'} {left}")
            time.sleep(min(asked["interval"], max(0.0, limit - waited)))
