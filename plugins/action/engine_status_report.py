# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show how Sparks and all that they serve are doing; the module of this name documents it."""

from __future__ import annotations

import json
import shutil
import time
from typing import Any, ClassVar

from ansible.constants import config
from ansible.utils.display import Display
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status import judge, page, table
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status.document import judged
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.written import write

#: Ansible's own settings, which a user may have changed
COLOURS = {judge.SERIOUS: "COLOR_ERROR", judge.WARNING: "COLOR_WARN", table.GOOD: "COLOR_OK"}

#: of a result, what is read
KEYS = ("read", "unread", "at", "unreachable", "msg", "module_stderr")


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "register": {"type": "str", "required": True},
        "out": {"type": "str", "default": ""},
        "page": {"type": "str", "default": ""},
        "fail_at": {"type": "str", "choices": list(judge.FAIL_AT), "default": "never"},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the document and the table, show the latter and write the former."""
        hostvars, register = task_vars["hostvars"], asked["register"]
        registered = {name: hostvars[name].get(register) for name in asked["members"] if name in hostvars}
        told = {name: {key: one[key] for key in KEYS if key in one} for name, one in registered.items() if one}
        document = judged({name: told.get(name, {}) for name in asked["members"]}, time.time())
        shown = table.lines(document, shutil.get_terminal_size((table.WIDTH, 24)).columns)
        for line in shown:  # as it is: a result's long lines are folded or quoted
            colour = COLOURS.get(line.severity)
            Display().display(line.text, color=config.get_config_value(colour) if colour else None)
        failing = judge.failing(document["anomalies"], asked["fail_at"])
        return {
            "document": document,
            "lines": [line.text for line in shown],
            "file": self._write(asked["out"], f"{json.dumps(document, indent=2)}\n", "status_json"),
            "page": self._write(asked["page"], page.html(document), "status_html"),
            "failing": [f"{one['host'] or one['instance']}: {one['value']}" for one in failing],
            "_ansible_verbose_override": True,  # it is shown already
        }

    def _write(self, out: str, content: str, variable: str) -> str:
        """Write a file on the controller. Return where it is; empty where no file is named, and in check mode."""
        return write(out, content, variable, 0o644) if out and not self._task.check_mode else ""
