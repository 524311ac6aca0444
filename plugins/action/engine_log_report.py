# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the logs of all ranks in one view; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.utils.display import Display
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import log_lines
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "register": {"type": "str", "required": True},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Print what was read, and return it."""
        hosts = task_vars["hostvars"]
        read = {name: (hosts[name].get(asked["register"]) or {}).get("entries", []) for name in asked["members"]}
        shown = log_lines.merged(read)
        for line in shown:
            Display().display(line)
        return {"lines": shown, "_ansible_verbose_override": True}  # it is shown already
