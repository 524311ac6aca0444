# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow a step in the background; the module of this name documents it."""

from __future__ import annotations

import time
from typing import Any, Mapping

from ansible.plugins.action import ActionBase
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.progress import PULL, describe
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.in_place import InPlace

MODULE = "sparkops.dgx_spark.async_job_info"


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
        job = {
            "jid": started["ansible_job_id"],
            "dir": self._remote_expand_user(self.get_shell_option("async_dir", "~/.ansible_async")),
            "progress": list(dict.fromkeys([*asked["progress"], PULL])),
        }
        shown = InPlace(self._display, task_vars["inventory_hostname"])
        while True:
            found = self._execute_module(MODULE, module_args={**job, "wait": asked["interval"]}, task_vars=task_vars)
            ended = end_of(started["ansible_job_id"], found)
            if ended:
                shown.end()
                return ended
            progress = "; ".join(describe(about, time.time()) for about in found["progress"])
            if progress:
                shown.say(progress)


def end_of(job: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a step that has ended, empty while it runs.

    :param found: what the module async_job_info returned.
    """
    if found.get("failed") or found.get("unreachable"):
        return dict(found)
    if not found["there"]:
        return {
            "failed": True,
            "finished": True,
            "msg": f"the host knows of no step {job}: its result was removed from Ansible's async_dir. Run this again",
        }
    return {**found["result"], "ansible_job_id": job, "finished": True} if found["result"] else {}
