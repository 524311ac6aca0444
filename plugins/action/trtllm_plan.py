# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the configuration of TensorRT-LLM, on the controller; the module of this name documents it."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trtllm
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.renamed import renamed_variables
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

#: the configuration of TensorRT-LLM is no change by itself: the changes are those of engine_plan
CHANGES: tuple[str, ...] = ()


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "model": {"type": "dict", "required": True},
        "config": {"type": "dict", "default": {}},
        "options": {"type": "dict", "default": {}},
        "arguments": {"type": "dict", "default": {}},
        "api_host": {"type": "str", "default": "127.0.0.1"},
        "api_port": {"type": "int", "default": 8355},
        "image": {"type": "str", "default": ""},
        "version": {"type": "str", "default": ""},
        "encodings": {"type": "dict", "default": {}},
        "encodings_url": {"type": "str", "default": ""},
        "min_kv_tokens": {"type": "int", "default": 0},
        "vision": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the engine's part of the plan. It changes nothing of its own on any host."""
        old = renamed_variables(task_vars)
        if old:
            raise PlanError(f"{old}. Nothing was changed.")
        asked = json.loads(json.dumps(asked, default=str))  # plain values, as YAML wants to write; a date is a word
        model = asked.pop("model")
        absent = [name for name in ("snapshot", "repo_dir") if not (isinstance(model.get(name), str) and model[name])]
        if absent:
            raise PlanError(
                f"{' and '.join(absent)} of the model are not known: run the role hf_cache before in the same play, or "
                "set trtllm_serve_model. Nothing was changed."
            )
        try:
            engine = trtllm.plan(trtllm.Request(snapshot=model["snapshot"], repo_dir=model["repo_dir"], **asked))
        except ServeError as error:
            raise PlanError(f"This model cannot be served as asked: {error}. Nothing was changed.") from error
        doubts = engine.pop("doubts")
        text = yaml.safe_dump(engine["options"], indent=4, default_flow_style=False, allow_unicode=True)
        engine["files"] = {trtllm.OPTIONS_FILE: text}
        planned = {"changes": {name: [] for name in asked["members"]}, "engine": engine}
        return {**planned, "warnings": doubts} if doubts else planned
