# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report what to do for a newer TensorRT-LLM; the module of this name documents it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

from ansible.utils.display import Display
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._build import choice
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "image": {"type": "str", "required": True},
        "offered": {"type": "dict", "required": True},
        "commit": {"type": "str", "default": ""},
        "engines": {"type": "list", "elements": "dict", "default": []},
        "model": {"type": "str", "default": ""},
        "engine": {"type": "str", "default": "trtllm"},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the choices and the table."""
        wanted = choice.Asked(**asked)
        rows = choice.choose(wanted)
        table = choice.table(rows, wanted)
        Display().display("\n".join(table))  # as it is: a result's long lines are folded or quoted
        return {
            "table": table,
            "choices": [asdict(row) for row in rows],
            "first": rows[0].what,
            "_ansible_verbose_override": True,  # the table is shown already
        }
