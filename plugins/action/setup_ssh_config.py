# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a block into a user's configuration of ssh, or remove it; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup import controller, ssh_config
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.answers import Spark
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "hosts": {"type": "list", "elements": "dict", "default": []},
        "user": {"type": "str", "default": ""},
        "key": {"type": "str", "default": "", "no_log": False},
        "known_hosts": {"type": "str", "default": ""},
        "ssh_dir": {"type": "str", "default": "~/.ssh"},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Write the file, or remove it where nothing else was ever in it."""
        path = controller.folder_of(asked["ssh_dir"]) / "config"
        before = controller.text_of(path)
        members = [one for one in (Spark(**host) for host in asked["hosts"]) if not one.here]
        try:
            after = _after(before, members, asked)
        except ssh_config.SshConfigError as error:
            raise PlanError(f"{path}: {error}. {path} is as it was.") from error
        if before != after and not self._task.check_mode:
            if after is None:
                path.unlink()
            else:
                controller.write(path, after, 0o600)
        clashes = ssh_config.clashes(after or "", [one.name for one in members])
        return {
            "changed": before != after,
            "path": str(path),
            "clashes": clashes,
            "diff": {
                "before": before or "",
                "after": after or "",
                "before_header": str(path),
                "after_header": str(path),
            },
        }


def _after(before: str | None, members: list[Spark], asked: dict[str, Any]) -> str | None:
    if asked["state"] == "present" and members:
        return ssh_config.with_block(
            before, ssh_config.entries(members, asked["user"], asked["key"], asked["known_hosts"])
        )
    left, ours = ssh_config.without(before or "")
    return None if before is None or ours else left
