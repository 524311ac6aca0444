# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge what the Sparks told, and show the findings; the module of this name documents it."""

from __future__ import annotations

import json
import time
from typing import Any, ClassVar

from ansible.constants import config
from ansible.utils.display import Display
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import redact
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor import checks, judge, words
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.told import told_by
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.written import write

COLOURS = {"serious": "COLOR_ERROR", "warning": "COLOR_WARN"}  # as the user configured them


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "register": {"type": "str", "required": True},
        "hub": {"type": "str", "default": ""},
        "only": {"type": "list", "elements": "str", "default": []},
        "treat": {"type": "list", "elements": "str", "default": []},
        "before": {"type": "list", "elements": "dict", "default": []},
        "fail_at": {"type": "str", "choices": list(judge.FAIL_AT), "default": "serious"},
        "out": {"type": "str", "default": ""},
    }
    ERRORS = (checks.CheckError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the findings, and what is to be mended where; show them, and write them where they are asked for."""
        names = checks.asked(asked["treat"])
        members = asked["members"]
        found = judge.judge(
            told_by(task_vars["hostvars"], members, asked["register"], asked["hub"]), members, asked["only"]
        )
        treatments = judge.treatments(found, names)
        failing, now = judge.failing(found, asked["fail_at"]), time.time()
        document = redact.value(words.document(found, members, now, failing))
        shown = words.blocks(found, members, asked["before"])
        lines = [redact.text(line) for block in shown for line in (*block.lines, "")]
        for block in shown:  # as it is: a result's long lines are folded or quoted
            text = redact.text("\n".join(["", *block.lines]))
            Display().display(text, color=_colour(block.severity))
        written = "" if self._task.check_mode else write_document(asked["out"], document, "doctor_json")
        return {
            "findings": document["findings"],
            "not_looked_at": document["not_looked_at"],
            "failing": [words.key_of(one) for one in failing],
            "treatments": treatments,
            "changes": judge.changes(treatments, members),
            "mended": words.mended(asked["before"], found),
            "document": document,
            "lines": lines,
            "file": written,
            "_ansible_verbose_override": True,  # it is shown already
        }


def _colour(severity: str) -> str | None:
    return config.get_config_value(COLOURS[severity]) if severity in COLOURS else None


def write_document(out: str, document: dict[str, Any], variable: str) -> str:
    """Write a document on the controller. Return where it is; empty where no file is named.

    :param variable: that names the file, for the message.
    """
    if not out:
        return ""
    return write(out, json.dumps(document, indent=2, sort_keys=True) + "\n", variable, 0o600)
