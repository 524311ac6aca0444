# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow a step in the background; the module of this name documents it."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.progress import PULL, describe
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.in_place import InPlace


class ActionModule(ActionBase):
    """Runs on the controller."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Wait until the step has ended; return its result."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validated, asked = self.validate_argument_spec(
            argument_spec={
                "started": {"type": "dict", "required": True},
                "progress": {"type": "list", "elements": "str", "default": []},
                "interval": {"type": "int", "default": 5},
            }
        )
        started = asked["started"]
        if "ansible_job_id" not in started:
            return {**started, "changed": bool(started.get("changed"))}
        paths = list(dict.fromkeys([*asked["progress"], PULL]))
        pause, shown = 0.5, InPlace(self._display, task_vars["inventory_hostname"])
        while True:
            done = self._status(started["ansible_job_id"], task_vars)
            if done.get("finished") or "started" not in done:
                shown.end()
                return done
            progress = "; ".join(filter(None, (self._progress(path, task_vars) for path in paths)))
            if progress:
                shown.say(progress)
            time.sleep(pause)
            pause = min(pause * 2, asked["interval"])

    def _status(self, job: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what the background process has written, as ansible.builtin.async_status does."""
        options = {
            "jid": job,
            "_async_dir": self._remote_expand_user(self.get_shell_option("async_dir", "~/.ansible_async")),
        }
        return self._execute_module("ansible.legacy.async_status", module_args=options, task_vars=task_vars)

    def _progress(self, path: str, task_vars: dict[str, Any]) -> str:
        """Return how far a step is, empty where no such file is there."""
        read = self._execute_module("ansible.legacy.slurp", module_args={"src": path}, task_vars=task_vars)
        if read.get("failed"):
            return ""
        return describe(json.loads(base64.b64decode(read["content"])), time.time())
