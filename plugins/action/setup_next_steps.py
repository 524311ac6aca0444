# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what to type after the set-up; the module of this name documents it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.answers import Spark
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.inventory import commands
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.terminal import Terminal
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "path": {"type": "str", "required": True},
        "hosts": {"type": "list", "elements": "dict", "required": True},
        "user": {"type": "str", "required": True},
        "key": {"type": "str", "default": "", "no_log": False},
        "known_hosts": {"type": "str", "default": ""},
        "ssh_config": {"type": "bool", "default": False},
        "clashes": {"type": "list", "elements": "str", "default": []},
        "api_port": {"type": "int", "default": 8355},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Show the commands as they are: a result's long lines are folded or quoted."""
        said = commands(
            [Spark(**host) for host in asked["hosts"]],
            asked["user"],
            asked["path"],
            asked["api_port"],
            Path("playbooks/serve.yml").exists(),
            asked["ssh_config"] and not asked["clashes"],
            asked["key"],
            asked["known_hosts"],
        )
        lines = ["", "What comes next:", *(f"  {line}" for line in said)]
        if asked["clashes"]:
            names = ", ".join(asked["clashes"])
            lines += [
                "",
                f"Your configuration of ssh had entries for {names} before, by which ssh goes first: rename one.",
            ]
        Terminal().show([*lines, ""])
        return {"commands": said, "_ansible_verbose_override": True}
