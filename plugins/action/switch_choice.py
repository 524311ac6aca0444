# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the model that is served next; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import history
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue, fit, report, switch
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup import answers
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.terminal import Terminal
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

BY_HAND = "Name the model, such as -e spark_model=openai/gpt-oss-20b. Nothing was changed."


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "model": {"type": "str", "default": ""},
        "revision": {"type": "str", "default": ""},
        "speculative": {"type": "raw", "default": ""},
        "models": {"type": "dict", "default": {}},
        "history": {"type": "list", "elements": "dict", "default": []},
        "members": {"type": "dict", "default": {}},
        "reserve_gb": {"type": "float", "default": 20.0},
        "memory_reserve_mib": {"type": "int", "default": 24576},
        "memory_floor_mib": {"type": "int", "default": 8192},
        "memory_load_floor_mib": {"type": "int", "default": 16384},
    }
    ERRORS = (catalogue.CatalogueError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return repository and revision, and with what it is to be served."""
        known = history.entries(asked["history"])
        now = history.current(known)
        serves = now["repo"] if now else ""
        if asked["model"] == switch.PREVIOUS:
            try:
                entry = switch.previous(known)
            except switch.SwitchError as error:
                raise PlanError(f"{task_vars['inventory_hostname']}: {error}. Nothing was changed.") from error
            recorded = switch.as_asked(entry)
            return {
                "repo": entry["repo"],
                "revision": entry["commit"] or "main",
                "speculative": recorded.get("speculative", ""),
                "recorded": recorded,
                "left": switch.left(entry["repo"], asked["model"], serves),
            }
        asks = asked["model"] in ("", switch.ASK)
        repo = _chosen(asked, serves) if asks else asked["model"]
        revision = "" if asks else asked["revision"]  # that of the inventory is of its own model
        return {
            "repo": repo,
            "revision": revision or catalogue.entry(repo, asked["models"])["revision"] or "main",
            "speculative": asked["speculative"],
            "recorded": {},
            "left": switch.left(repo, asked["model"], serves),
        }


def _chosen(asked: dict[str, Any], serves: str) -> str:
    """The model that a person chooses in the terminal."""
    hosts = [
        report.Host(name, one["memory_mib"], one["filesystem"]["free_bytes"], one["blobs"], one["rates"])
        for name, one in asked["members"].items()
    ]
    reserve = fit.Reserve(asked["memory_reserve_mib"], asked["memory_floor_mib"], asked["memory_load_floor_mib"])
    wanted = report.Asked(reserve_gb=asked["reserve_gb"], reserve=reserve)
    rows = switch.listed(report.rows(catalogue.load(asked["models"]), {}, hosts, wanted))
    caches = [{model["repo"] for model in one["cached"]} for one in asked["members"].values()]
    numbered = [answers.Model(row.handle, row.bytes / 1e9 if row.bytes else None, 0) for row in rows]
    terminal = Terminal()
    terminal.show(["", *switch.table(rows, set.intersection(*caches) if caches else set(), serves), ""])

    def check(text: str) -> str:
        handle = answers.model(text, numbered, len(hosts))
        if problem := switch.refusal(handle, rows):
            raise answers.AnswerError(problem)
        return handle

    return terminal.settle(
        "", "Which model is to serve? A number, or any handle of the Hugging Face hub", check, BY_HAND
    )
