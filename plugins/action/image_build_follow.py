# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow a long build; the module of this name documents it."""

from __future__ import annotations

from typing import Any, Mapping

from ansible.plugins.action import ActionBase
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import layout
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.in_place import InPlace

MODULE = "sparkops.dgx_spark.image_build_wait"
_LAST = 12  # lines of the log in a message


class ActionModule(ActionBase):
    """Runs on the controller."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Wait until the build has ended; return how."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validated, asked = self.validate_argument_spec(
            argument_spec={
                "kind": {"type": "str", "choices": [layout.IMAGE, layout.ENGINE], "default": layout.IMAGE},
                "dir": {"type": "path"},
                "interval": {"type": "int", "default": 10},
            }
        )
        job = {"kind": asked["kind"], "dir": asked["dir"] or layout.folder(asked["kind"])}
        host = task_vars["inventory_hostname"]
        shown = InPlace(self._display, host)
        while True:
            found = self._execute_module(MODULE, module_args={**job, "wait": asked["interval"]}, task_vars=task_vars)
            if found.get("failed") or found.get("unreachable"):
                shown.end()
                return dict(found)
            if found["outcome"] != layout.RUNNING:
                shown.end()
                return ended(host, job["dir"], found)
            line, _comma, time = str(found["line"]).rpartition(", ")
            shown.say(line, f", {time}")


def ended(host: str, folder: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a build that does not run.

    :param found: what the module image_build_wait returned.
    """
    state, outcome = found["state"], found["outcome"]
    if outcome == layout.DONE:
        return {"changed": True, "state": state}
    stage = f"the stage {state.get('title')!r}" if state.get("title") else "its first stage"
    if outcome == layout.FAILED:
        cause = f"has failed in {stage} with status {state.get('status')}"
        mend = "mend what the last lines tell, and run the playbook again: it goes on with that stage"
    else:
        cause = f"was ended from outside in {stage}, as by a signal, a lack of memory or a restart of the host"
        mend = "run the playbook again: it goes on with that stage, and what is compiled is not compiled again"
    last = " | ".join(found["log"][-_LAST:])
    return {
        "changed": True,
        "failed": True,
        "state": state,
        "log": found["log"],
        "msg": f"{host}: the build {cause}: {mend}. All of it is in {folder}/{layout.LOG}, which ends with: {last}",
    }
