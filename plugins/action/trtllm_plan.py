# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the configuration of TensorRT-LLM, on the controller; the module of this name documents it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar

import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trtllm
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.renamed import renamed_variables
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_speculative import Speculation
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue, fit, speculative
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.settings import draft_of, setting_of
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

#: the configuration of TensorRT-LLM is no change by itself, those are engine_plan's; but what the image says is kept
KEEP_FACTS = "Keep what the image says of its flags and keys"
CHANGES: tuple[str, ...] = (KEEP_FACTS,)
#: what was asked for that the history keeps, by which a model that served before is served again as it was
RECORDED = ("arguments", "options", "environment", "min_kv_tokens", "version", "vision", "image")


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
        "environment": {"type": "dict", "default": {}},
        "facts": {"type": "dict", "default": {}},
        "noted": {"type": "bool", "default": True},
        "image_changed": {"type": "bool", "default": False},
        "catalogue": {"type": "dict", "default": {}},
        "speculative": {"type": "raw", "default": ""},
        "vision": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
        "planned_at": {"type": "float", "default": 0},
    }
    ERRORS: ClassVar[tuple[type[Exception], ...]] = (catalogue.CatalogueError, speculative.SpeculativeError)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the engine's part of the plan. It changes nothing of its own on any host."""
        asked = json.loads(json.dumps(asked, default=str))  # plain values, as YAML wants to write; a date is a word
        end = "Nothing but the image was changed." if asked.pop("image_changed", False) else "Nothing was changed."
        old = renamed_variables(task_vars)
        if old:
            raise PlanError(f"{old}. {end}")
        first = asked.pop("planned_at", 0)
        model, models = asked.pop("model"), asked.pop("catalogue", {})
        entry = entry_of(model, models, end)
        said_of_drafts = asked.pop("speculative", "")
        speculation = speculation_of(said_of_drafts, model, models, end)
        draft = draft_among(speculation, model.get("beside") or [])
        asked["config"] = asked.get("config") or entry["config"]
        absent = [name for name in ("snapshot", "repo_dir") if not (isinstance(model.get(name), str) and model[name])]
        if absent:
            raise PlanError(
                f"{' and '.join(absent)} of the model are not known: run the role hf_cache before in the same play, or "
                f"set trtllm_serve_model. {end}"
            )
        noted = asked.pop("noted", True)
        recorded = {name: asked[name] for name in RECORDED if name in asked} | {"speculative": said_of_drafts}
        schema, unusable = schema_of(asked.get("facts", {}), asked.get("image", ""))
        try:
            request = trtllm.Request(
                snapshot=model["snapshot"],
                repo_dir=model["repo_dir"],
                schema=schema,
                entry=entry,
                speculation=speculation,
                draft=draft,
                **asked,
            )
            engine = {**trtllm.plan(request), "asked": recorded}
        except ServeError as error:
            text = str(error)
            stop = "" if text.endswith("?") else "."
            raise PlanError(f"This model cannot be served as asked: {text}{stop} {end}") from error
        doubts, judged, said = [*unusable, *engine.pop("doubts")], engine.pop("judged"), engine.pop("said")
        need = fit.demand(
            asked["config"],
            model.get("tensors") or [],
            model.get("bytes") or int((entry["weights_gb"] or 0) * 10**9),
            setting_of(said["arguments"], said["options"], asked.get("min_kv_tokens", 0)),
            draft_of(said["options"], draft),
        )
        name = model.get("repo") or ""
        engine["demand"] = replace(need, model=name, min_sparks=entry["min_sparks"]).to_json()
        if speculation:
            engine["speculative"] = {
                "kind": speculation.kind,
                "repo": speculation.handle,
                "commit": draft.get("commit") or "",
                "tokens": speculation.tokens,
                "rank_bytes": need.share.draft_bytes,
            }
        text = yaml.safe_dump(engine["options"], indent=4, default_flow_style=False, allow_unicode=True)
        engine["files"] = {trtllm.OPTIONS_FILE: text}
        changes: dict[str, list[dict[str, Any]]] = {name: [] for name in asked["members"]}
        if not noted:
            changes[asked["members"][0]].append(change(KEEP_FACTS, "", f"{asked.get('image', '')}\n"))
        planned = {"changes": changes, "engine": engine, "judged": judged, **({"at": first} if first else {})}
        return {**planned, "warnings": doubts} if doubts else planned


def schema_of(facts: dict[str, Any], image: str) -> tuple[trtllm.Schema | None, list[str]]:
    """The schema that an image carries, and a warning where it is none.

    :param facts: as trtllm_image_info returns them. :param image: its name.
    """
    if not facts.get("schema"):
        return None, []
    # Only here, since the library is loaded for a third of a second, and most images carry no schema.
    from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._engine import trtllm_schema

    try:
        return trtllm_schema.Schema(facts["schema"]), []
    except trtllm_schema.SchemaError as error:
        return None, [f"The schema of the options in the image {image} cannot be judged by: {error}"]


def speculation_of(said: Any, model: dict[str, Any], models: dict[str, Any], end: str) -> Speculation | None:
    """By what tokens are guessed, if by anything. :raises SpeculativeError: when it cannot be as asked."""
    try:
        return speculative.asked(said, str(model.get("repo") or ""), models)
    except speculative.SpeculativeError as error:
        raise speculative.SpeculativeError(f"{error}. {end}") from error


def draft_among(speculation: Speculation | None, beside: Any) -> dict[str, Any]:
    """The model that guesses, among those that are planned beside the served one; empty where it is not there.

    :raises PlanError: when what is beside is no list of models.
    """
    if not isinstance(beside, list) or not all(isinstance(one, dict) for one in beside):
        raise PlanError(
            f"beside of the model is {beside!r} and no list of models: give trtllm_serve_model as the role hf_cache "
            "plans it. Nothing was changed."
        )
    handle = speculation.handle if speculation else ""
    return next((dict(one) for one in beside if handle and one.get("repo") == handle), {})


def entry_of(model: dict[str, Any], overrides: dict[str, Any], end: str) -> dict[str, Any]:
    """What the catalogue has for a model. :raises CatalogueError: when what a user added to it is wrong."""
    try:
        return catalogue.entry(str(model.get("repo") or ""), overrides)
    except catalogue.CatalogueError as error:
        raise catalogue.CatalogueError(f"{error}. {end}") from error
