# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report which models a cluster can serve; the module of this name documents it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, ClassVar

from ansible.utils.display import Display
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import fit, report
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.written import write

FILES = ("models.html", "models.json", "models.txt")


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "entries": {"type": "dict", "required": True},
        "facts": {"type": "dict", "required": True},
        "members": {"type": "dict", "required": True},
        "out": {"type": "str", "default": ""},
        "batch": {"type": "int", "default": 4},
        "context": {"type": "int", "default": 0},
        "efficiency": {"type": "float", "default": report.EFFICIENCY},
        "download_mb_s": {"type": "float", "default": 0.0},
        "copy_mb_s": {"type": "float", "default": 0.0},
        "reserve_gb": {"type": "float", "default": 20.0},
        "memory_reserve_mib": {"type": "int", "default": 24576},
        "memory_floor_mib": {"type": "int", "default": 8192},
        "memory_load_floor_mib": {"type": "int", "default": 16384},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the rows and the table, and write the files."""
        wanted = _wanted(asked)
        hosts = [
            report.Host(name, one["memory_mib"], one["filesystem"]["free_bytes"], one["blobs"], one["rates"])
            for name, one in asked["members"].items()
        ]
        others = {
            name: [model["repo"] for model in one["cached"] if model["repo"] not in asked["entries"]]
            for name, one in asked["members"].items()
        }
        made = report.rows(asked["entries"], asked["facts"], hosts, wanted)
        table = report.table(made, hosts, wanted, others)
        now = time.time()
        document = report.document(made, hosts, wanted, now, others)
        when = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(now))
        page = report.page(document, made, hosts, wanted, when)
        texts = (page, json.dumps(document, indent=2) + "\n", "\n".join(table) + "\n")
        Display().display("\n".join(table))  # as it is: a result's long lines are folded or quoted
        written = []
        if asked["out"] and not self._task.check_mode:
            written = [
                write(Path(asked["out"], name), text, "spark_models_out", 0o644, names="directory")
                for name, text in zip(FILES, texts)
            ]
        return {
            "table": table,
            "models": document["models"],
            "files": written,
            "_ansible_verbose_override": True,  # the table is shown already
        }


def _wanted(asked: dict[str, Any]) -> report.Asked:
    for name, least in (("batch", 1), ("context", 0), ("download_mb_s", 0), ("copy_mb_s", 0), ("reserve_gb", 0)):
        if not least <= asked[name] < 1e9:
            raise PlanError(f"{_variable(name)} is {asked[name]}: give a number from {least} on. Nothing was changed.")
    if not 0 < asked["efficiency"] <= 1:
        raise PlanError(
            f"spark_models_efficiency is {asked['efficiency']}: give a share above 0, and 1 at most. "
            "Nothing was changed."
        )
    kept = ("batch", "context", "efficiency", "download_mb_s", "copy_mb_s", "reserve_gb")
    reserve = fit.Reserve(asked["memory_reserve_mib"], asked["memory_floor_mib"], asked["memory_load_floor_mib"])
    return report.Asked(**{name: asked[name] for name in kept}, reserve=reserve)


def _variable(name: str) -> str:
    return "spark_reserve_gb" if name == "reserve_gb" else f"spark_models_{name}"
