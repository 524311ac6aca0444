# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner of an engine whose ranks are one command on every Spark; vllm_plan and sglang_plan document it.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.every_node import EveryNode, Request
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.image_parser import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue, fit
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

#: what was asked for that the history keeps, by which a model that served before is served again as it was
RECORDED = ("arguments", "environment", "min_kv_tokens", "vision", "image")
#: the configuration of such an engine is no change by itself, those are engine_plan's; but what the image says is kept
KEEP_FACTS = "Keep what the image says of its flags"


class EnginePlan(Planner):
    """Runs on the controller."""

    ENGINE: ClassVar[EveryNode]
    SPECULATION: ClassVar[str]  # how people say in the arguments by what tokens are guessed
    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "model": {"type": "dict", "required": True},
        "config": {"type": "dict", "default": {}},
        "arguments": {"type": "dict", "default": {}},
        "environment": {"type": "dict", "default": {}},
        "api_host": {"type": "str", "default": "127.0.0.1"},
        "image": {"type": "str", "default": ""},
        "min_kv_tokens": {"type": "int", "default": 0},
        "speculative": {"type": "raw", "default": ""},
        "vision": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
        "catalogue": {"type": "dict", "default": {}},
        "facts": {"type": "dict", "default": {}},
        "noted": {"type": "bool", "default": True},
        "image_changed": {"type": "bool", "default": False},
        "planned_at": {"type": "float", "default": 0},
    }
    ERRORS: ClassVar[tuple[type[Exception], ...]] = (catalogue.CatalogueError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the engine's part of the plan, which changes nothing of its own but what is kept of an image."""
        asked, role = json.loads(json.dumps(asked, default=str)), f"{self.ENGINE.name}_serve"  # a date is a word
        end = "Nothing but the image was changed." if asked.pop("image_changed") else "Nothing was changed."
        model, facts, first, noted = (asked.pop(name) for name in ("model", "facts", "planned_at", "noted"))
        absent = [name for name in ("snapshot", "repo_dir") if not (isinstance(model.get(name), str) and model[name])]
        if absent:
            raise PlanError(
                f"{' and '.join(absent)} of the model are not known: run the role hf_cache before in the same play, or "
                f"set {role}_model. {end}"
            )
        if asked.pop("speculative"):
            raise PlanError(
                f"spark_speculative is rendered for TensorRT-LLM alone: leave it empty, and say {self.SPECULATION} in "
                f"{role}_arguments. {end}"
            )
        entry = catalogue.entry(str(model.get("repo") or ""), asked.pop("catalogue"))
        asked["config"] = asked["config"] or entry["config"]
        request = Request(
            snapshot=model["snapshot"],
            repo_dir=model["repo_dir"],
            repo=str(model.get("repo") or ""),
            model_bytes=model.get("bytes") or 0,
            told=told(facts.get("flags")),
            told_version=facts.get("version") or "",
            **asked,
        )
        try:
            engine = {**self.ENGINE.plan(request), "asked": {name: asked[name] for name in RECORDED}}
        except ServeError as error:
            text = str(error)
            stop = "" if text.endswith("?") else "."
            raise PlanError(f"This model cannot be served as asked: {text}{stop} {end}") from error
        engine["demand"] = demand_of(self.ENGINE, request, model, entry).to_json()
        doubts = engine.pop("doubts")
        changes: dict[str, list[dict[str, Any]]] = {name: [] for name in asked["members"]}
        if not noted:
            changes[asked["members"][0]].append(change(KEEP_FACTS, "", f"{asked['image']}\n"))
        planned = {"changes": changes, "engine": engine, **({"at": first} if first else {})}
        return {**planned, "warnings": doubts} if doubts else planned


def demand_of(engine: EveryNode, asked: Request, model: Mapping[str, Any], entry: Mapping[str, Any]) -> fit.Demand:
    """What a model needs of each Spark. :param model: as hf_cache plans it. :param entry: of the catalogue."""
    kind = engine.guesses(asked)
    need = fit.demand(
        asked.config,
        model.get("tensors") or [],
        asked.model_bytes or int((entry["weights_gb"] or 0) * 10**9),
        fit.Setting(**engine.setting(asked)),
        fit.Draft(kind=kind) if kind in fit.OWN_DRAFT else None,
    )
    doubts = (*need.doubts, *engine.uncounted(asked))
    return replace(need, model=asked.repo, min_sparks=entry["min_sparks"], doubts=doubts)
