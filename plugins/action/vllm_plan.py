# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the configuration of vLLM, on the controller; the module of this name documents it."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import vllm, vllm_image
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

#: the configuration of vLLM is no change by itself, those are engine_plan's; but what the image says is kept
KEEP_FACTS = "Keep what the image says of its flags"
CHANGES: tuple[str, ...] = (KEEP_FACTS,)
#: what was asked for that the history keeps, by which a model that served before is served again as it was
RECORDED = ("arguments", "environment", "min_kv_tokens", "vision", "image")


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "model": {"type": "dict", "required": True},
        "config": {"type": "dict", "default": {}},
        "arguments": {"type": "dict", "default": {}},
        "environment": {"type": "dict", "default": {}},
        "alias": {"type": "str", "default": ""},
        "api_host": {"type": "str", "default": "127.0.0.1"},
        "image": {"type": "str", "default": ""},
        "facts": {"type": "dict", "default": {}},
        "noted": {"type": "bool", "default": True},
        "image_changed": {"type": "bool", "default": False},
        "planned_at": {"type": "float", "default": 0},
        "min_kv_tokens": {"type": "int", "default": 0},
        "speculative": {"type": "raw", "default": ""},
        "vision": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the engine's part of the plan. It changes nothing of its own on any host."""
        asked = json.loads(json.dumps(asked, default=str))  # plain values; a date is a word
        end = "Nothing but the image was changed." if asked.pop("image_changed") else "Nothing was changed."
        model, facts, first, noted = (asked.pop(name) for name in ("model", "facts", "planned_at", "noted"))
        absent = [name for name in ("snapshot", "repo_dir") if not (isinstance(model.get(name), str) and model[name])]
        if absent:
            raise PlanError(
                f"{' and '.join(absent)} of the model are not known: run the role hf_cache before in the same play, or "
                f"set vllm_serve_model. {end}"
            )
        if asked.pop("speculative"):
            raise PlanError(
                "spark_speculative is rendered for TensorRT-LLM alone: leave it empty, and say speculative_config in "
                f"vllm_serve_arguments. {end}"
            )
        request = vllm.Request(
            snapshot=model["snapshot"],
            repo_dir=model["repo_dir"],
            repo=str(model.get("repo") or ""),
            model_bytes=model.get("bytes") or 0,
            told=vllm_image.told(facts.get("flags")),
            told_version=facts.get("version") or "",
            **asked,
        )
        try:
            engine = {**vllm.plan(request), "asked": {name: asked[name] for name in RECORDED}}
        except ServeError as error:
            text = str(error)
            stop = "" if text.endswith("?") else "."
            raise PlanError(f"This model cannot be served as asked: {text}{stop} {end}") from error
        doubts = engine.pop("doubts")
        changes: dict[str, list[dict[str, Any]]] = {name: [] for name in asked["members"]}
        if not noted:
            changes[asked["members"][0]].append(change(KEEP_FACTS, "", f"{asked['image']}\n"))
        planned = {"changes": changes, "engine": engine, **({"at": first} if first else {})}
        return {**planned, "warnings": doubts} if doubts else planned
