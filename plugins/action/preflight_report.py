# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say whether a model can be served now; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.constants import config
from ansible.utils.display import Display
from ansible_collections.sparkops.dgx_spark.plugins.action.doctor_report import write_document
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import redact
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor import checks, judge, preflight
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.told import told_by
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner

COLOURS = {  # as the user configured them
    preflight.READY: "COLOR_OK",
    preflight.READY_BUT_SLOW: "COLOR_WARN",
    preflight.IS_BLOCKED: "COLOR_ERROR",
}


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "register": {"type": "str", "required": True},
        "hub": {"type": "str", "default": ""},
        "repo": {"type": "str", "default": ""},
        "model": {"type": "dict", "default": {}},
        "serve": {"type": "dict", "default": {}},
        "refusals": {"type": "dict", "default": {}},
        "root_wanted": {"type": "bool", "default": True},
        "out": {"type": "str", "default": ""},
    }
    ERRORS = (checks.CheckError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the answer with its lines; show them, and write them where they are asked for."""
        members, model, serve = asked["members"], asked["model"], asked["serve"]
        told = told_by(task_vars["hostvars"], members, asked["register"], asked["hub"])
        refusals = {name: [some] if isinstance(some, str) else some for name, some in asked["refusals"].items()}
        refused, all_read = any(refusals.values()), all(told[name].get("read") for name in members)
        found = preflight.answer(
            judge.judge(told, members),
            preflight.moves_of(members, model, serve),
            refusals,
            preflight.unplanned(asked["repo"], model, serve, refused, all_read),
            asked["root_wanted"],
        )
        hosts = preflight.about(told, members)
        document = redact.value(preflight.as_json(found, hosts))
        lines = [redact.text(line) for line in preflight.in_words(found, hosts)]
        self._show(lines[0], lines[1:], found.answer)
        path = "" if self._task.check_mode else write_document(asked["out"], document, "preflight_json")
        blocking = [f"{line.host or 'all'}: {line.seen}" for line in found.lines if line.kind == checks.BLOCKED]
        return {
            **document,
            "blocking": [redact.text(line) for line in blocking],
            "words": lines,
            "file": path,
            "_ansible_verbose_override": True,  # it is shown already
        }

    @staticmethod
    def _show(first: str, lines: list[str], answer: str) -> None:
        """Show it as it is: a result's long lines are folded or quoted."""
        colour = config.get_config_value(COLOURS[answer])
        Display().display(f"\nPREFLIGHT: {first}", color=colour)
        Display().display("\n".join(lines))
