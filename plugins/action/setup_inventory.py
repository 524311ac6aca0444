# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the inventory of some Sparks; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup import answers, controller
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.answers import Spark
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.inventory import inventory
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.terminal import Terminal
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "path": {"type": "str", "required": True},
        "hosts": {"type": "list", "elements": "dict", "required": True},
        "user": {"type": "str", "required": True},
        "model": {"type": "str", "required": True},
        "key": {"type": "str", "default": "", "no_log": False},
        "known_hosts": {"type": "str", "default": ""},
        "overwrite": {"type": "str", "default": ""},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Write the file, unless it is there as it would be."""
        path = controller.folder_of(asked["path"])
        members = [Spark(**host) for host in asked["hosts"]]
        text = inventory(members, asked["user"], asked["model"], asked["key"], asked["known_hosts"])
        before = controller.text_of(path)
        changed = before != text
        if changed and not self._task.check_mode:
            if before is not None:
                _overwrite(str(path), text, asked["overwrite"])
            controller.write(path, text, 0o644)
        diff = {"before": before or "", "after": text, "before_header": str(path), "after_header": str(path)}
        return {"changed": changed, "path": str(path), "diff": diff}


def _overwrite(path: str, text: str, given: str) -> None:
    terminal = Terminal()
    if not given:
        terminal.show(["", f"{path} would then be:", *(f"  {line}" for line in text.splitlines()), ""])
    by_hand = f"{path} is as it was: give another file with -e setup_inventory=, or -e setup_overwrite=true."
    if not terminal.settle(
        given,
        f"{path} is there already, with something else in it. Write over it? yes or no",
        lambda said: answers.yes(said, False),
        by_hand,
        "no",
    ):
        raise PlanError(f"{path} is there already, with something else in it. {by_hand}")
