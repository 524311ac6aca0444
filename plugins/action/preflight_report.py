# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say whether a model can be served now; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.utils.display import Display
from ansible_collections.sparkops.dgx_spark.plugins.action.doctor_report import write_document
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import redact
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor import checks, judge, preflight
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.told import told_by
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "register": {"type": "str", "required": True},
        "hub": {"type": "str", "default": ""},
        "model": {"type": "dict", "default": {}},
        "serve": {"type": "dict", "default": {}},
        "refusals": {"type": "dict", "default": {}},
        "out": {"type": "str", "default": ""},
    }
    ERRORS = (checks.CheckError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the answer with its lines; show them, and write them where they are asked for."""
        members = asked["members"]
        told = told_by(task_vars["hostvars"], members, asked["register"], asked["hub"])
        found = preflight.answer(
            judge.judge(told, members),
            preflight.moves_of(members, asked["model"]),
            {name: [some] if isinstance(some, str) else some for name, some in asked["refusals"].items()},
            preflight.slow_changes(asked["serve"]),
        )
        document = redact.value(preflight.as_json(found))
        lines = [redact.text(line) for line in preflight.in_words(found)]
        Display().display("\n".join(["", *lines]))  # as it is: a result's long lines are folded or quoted
        path = "" if self._task.check_mode else write_document(asked["out"], document, "preflight_json")
        return {**document, "words": lines, "file": path, "_ansible_verbose_override": True}
