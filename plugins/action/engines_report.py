# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report which engines can serve a model on a cluster; the module of this name documents it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, ClassVar

from ansible.utils.display import Display
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import engines, fit
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.written import write

ROLES = Path(__file__).parents[2] / "roles"
FILE = "engines.json"


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "model": {"type": "str", "required": True},
        "entries": {"type": "dict", "required": True},
        "facts": {"type": "dict", "required": True},
        "members": {"type": "dict", "required": True},
        "images": {"type": "dict", "default": {}},
        "purpose": {"type": "str", "default": "any"},
        "out": {"type": "str", "default": ""},
        "batch": {"type": "int", "default": 4},
        "context": {"type": "int", "default": 0},
        "memory_reserve_mib": {"type": "int", "default": 24576},
        "memory_floor_mib": {"type": "int", "default": 8192},
        "memory_load_floor_mib": {"type": "int", "default": 16384},
    }
    ERRORS: ClassVar[tuple[type[Exception], ...]] = (engines.EnginesError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what is told of each engine and the table, and write the file."""
        wanted = self._wanted(asked, task_vars)
        found = engines.choose(wanted)
        table = engines.table(found, wanted)
        document = engines.document(found, wanted, time.time())
        Display().display("\n".join(table))  # as it is: a result's long lines are folded or quoted
        written = []
        if asked["out"] and not self._task.check_mode:
            text = json.dumps(document, indent=2) + "\n"
            written = [write(Path(asked["out"], FILE), text, "spark_engines_out", 0o644, names="directory")]
        return {
            "table": table,
            "engines": document["engines"],
            "first": next((one.engine for one in found if one.place == 1), ""),
            "files": written,
            "_ansible_verbose_override": True,  # the table is shown already
        }

    def _wanted(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> engines.Asked:
        for name, least in (("batch", 1), ("context", 0)):
            if not least <= asked[name] < 1e9:
                raise PlanError(
                    f"spark_engines_{name} is {asked[name]}: give a number from {least} on. Nothing was changed."
                )
        if asked["model"] not in asked["entries"]:
            raise PlanError(
                "spark_model is not set, or no handle of a model: say which model is to be served, for instance "
                "-e spark_model=openai/gpt-oss-20b. Nothing was changed."
            )
        return engines.Asked(
            repo=asked["model"],
            entry=asked["entries"][asked["model"]],
            known=asked["facts"].get(asked["model"]) or {},
            memory_mib={name: one["memory_mib"] for name, one in asked["members"].items()},
            images={
                name: str(asked["images"].get(name) or self._image(name, task_vars))
                for name in engines.data()["engines"]
            },
            purpose=asked["purpose"],
            batch=asked["batch"],
            context=asked["context"],
            reserve=fit.Reserve(asked["memory_reserve_mib"], asked["memory_floor_mib"], asked["memory_load_floor_mib"]),
        )

    def _image(self, engine: str, task_vars: dict[str, Any]) -> str:
        """The image that an engine's role would take; spark_image is that of the engine which spark_engine names."""
        role = f"{engine}_serve"
        path = ROLES / role / "defaults" / "main.yml"
        defaults = self._loader.load_from_file(str(path), trusted_as_template=True)
        others = {} if engine == task_vars.get("spark_engine", "trtllm") else {"spark_image"}
        variables = {name: value for name, value in {**defaults, **task_vars}.items() if name not in others}
        templar = self._templar.copy_with_new_env(available_variables=variables)
        return str(templar.template(variables[f"{role}_base_image"]))
