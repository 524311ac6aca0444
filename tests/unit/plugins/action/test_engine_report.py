# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What serves is reported once a token was generated, and under one set of names for every engine."""

from __future__ import annotations

import datetime
import json
import re
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action import (
    engine_report,
    sglang_plan,
    sglang_report,
    trtllm_plan,
    trtllm_report,
    vllm_plan,
    vllm_report,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._engine.report import FACTS
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import fit
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.speculative import SpeculativeError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError

PLAN: dict[str, Any] = {
    "instance": "vlm",
    "endpoint": "http://127.0.0.1:8355/v1",
    "cluster": {"nodes": [{"name": "spark1"}]},
    "image": {"id": "sha256:aa", "name": "dgx-spark/trtllm-serve:01"},
    "base_image": "release:1.3.0rc5",
    "base_digest": "",
    "exposed": {"spark1": ["ufw is off"]},
}
STATE = {"model": "tiny", "load_s": 4.5, "kv_tokens": 86720, "ranks": {}}
ANSWER = {"usage": {"completion_tokens": 2}, "choices": [{"message": {"content": "Hello."}}]}


def run(module: Any, asked: dict[str, Any], **variables: Any) -> dict[str, Any]:
    return module.ActionModule.__new__(module.ActionModule).plan(asked, variables)


def report(answer: dict[str, Any]) -> dict[str, Any]:
    return run(engine_report, {"plan": PLAN, "state": STATE, "answer": answer, "picture": "256x192"})


def test_a_report() -> None:
    found = report(ANSWER)
    assert found["answer"] == "Hello."
    assert found["base_image"] == "release:1.3.0rc5"
    assert found["kv_tokens"] == 86720
    assert (found["instance"], found["picture"]) == ("vlm", "256x192")
    assert found["speculative"] == {}
    assert tuple(found) == FACTS
    own = run(trtllm_report, {"plan": {"engine": {"version": "1.3.0rc5"}}, "report": found})
    assert own == {**found, "version": "1.3.0rc5"}
    for one in (vllm_report, sglang_report):
        assert run(one, {"plan": {"engine": {"version": ""}}, "report": found}) == {**found, "version": ""}


@pytest.mark.parametrize("answer", [{}, {"usage": {"completion_tokens": 0}}, {"usage": None}])
def test_an_answer_without_a_token_is_none(answer: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"spark1 answered at .* without a generated token"):
        report(answer)


MODEL = {"repo_dir": "/hub/m", "snapshot": "/hub/m/snapshots/a", "repo": "me/mine"}
BESIDE = {"repo": "me/head", "commit": "c0ffee", "repo_dir": "/hub/d", "snapshot": "/hub/d/snapshots/b"}
EAGLE3 = {"kind": "Eagle3", "handle": "me/head", "tokens": 3}


def engine(**options: Any) -> dict[str, Any]:
    model = {"repo_dir": "/hub/m", "snapshot": "/hub/m/snapshots/a"}
    wanted: dict[str, Any] = {"members": ["spark1"], "model": model, "arguments": {"tp_size": 1}, **options}
    return run(trtllm_plan, wanted, **wanted.pop("variables", {}))


def test_what_tensorrt_llm_is_told_is_no_change_of_its_own() -> None:
    found = engine(options={"print_iter_log": False})
    assert found["changes"] == {"spark1": []}
    assert "print_iter_log: false\n" in found["engine"]["files"]["llm.yml"]


def test_what_a_model_needs_travels_with_its_engine() -> None:
    model = {"repo_dir": "/hub/m", "snapshot": "/hub/m/snapshots/a", "repo": "nvidia/Qwen3-235B-A22B-FP4"}
    need = engine(model={**model, "bytes": 130 * 10**9}, min_kv_tokens=9)["engine"]["demand"]
    assert (need["model"], need["min_sparks"], need["weights_bytes"]) == (model["repo"], 2, 130 * 10**9)
    assert (need["kv_bytes_per_token"], need["setting"]["min_kv_tokens"]) == (192_512, 9)
    assert engine(model=model)["engine"]["demand"]["weights_bytes"] == 134 * 10**9, "of the catalogue"
    config = {"model_type": "lab"}
    assert "architecture lab" in engine(model=model, config=config)["engine"]["demand"]["doubts"][0], "the model's own"
    rows = [{"name": "lm_head.weight", "dtype": "BF16", "count": 1, "bytes": 8}]
    assert engine(model={**model, "tensors": rows})["engine"]["demand"]["shares"]["2x1"]["sharded_bytes"] == 4
    assert json.loads(json.dumps(need)) == need


def test_a_models_arguments_of_the_catalogue_are_beneath() -> None:
    model = {"repo_dir": "/hub/m", "snapshot": "/hub/m/snapshots/a", "repo": "me/mine"}
    own = {"arguments": {"tp_size": 2, "trust_remote_code": True}, "options": {"enable_chunked_prefill": True}}
    found = engine(model=model, catalogue={"me/mine": {**own, "environment": {"A": 1}}})["engine"]
    assert found["serve"][2:5] == ["--tp_size", "1", "--trust_remote_code"]
    assert found["options"]["enable_chunked_prefill"] is True
    assert found["environment"]["A"] == "1"
    assert "said" not in found


def test_a_draft_counts() -> None:
    small = {"model_type": "llama", "num_hidden_layers": 1, "num_attention_heads": 8, "hidden_size": 512}
    model = {**MODEL, "beside": [{**BESIDE, "config": small, "bytes": 77}]}
    found = engine(speculative=EAGLE3, version="any", model=model)["engine"]["demand"]
    assert found["shares"]["1x1"]["draft_bytes"] == 77
    assert found["without"]["shares"]["1x1"]["draft_bytes"] == 0
    options = {"speculative_config": {"decoding_type": "Eagle3", "max_draft_len": 3}}
    assert "draft model" in " ".join(engine(options=options, version="any")["engine"]["demand"]["doubts"])
    options["speculative_config"] = {"decoding_type": "MTP", "num_nextn_predict_layers": 1}
    assert "draft model" not in " ".join(engine(options=options, version="any")["engine"]["demand"]["doubts"])


def test_what_guesses_tokens_is_told_with_its_commit_and_what_a_rank_has_of_it() -> None:
    model = {**MODEL, "beside": [{"repo": "me/other"}, {**BESIDE, "bytes": 10}]}
    found = engine(speculative=EAGLE3, model=model, version="1.3.0rc13")["engine"]
    assert found["speculative"] == {
        "kind": "Eagle3",
        "repo": "me/head",
        "commit": "c0ffee",
        "tokens": 3,
        "rank_bytes": 10,
    }
    assert "speculative_model_dir: /draft/snapshots/b\n" in found["files"]["llm.yml"]
    mtp = engine(speculative={"kind": "MTP"}, model=MODEL, version="any")["engine"]["speculative"]
    assert mtp == {"kind": "MTP", "repo": "", "commit": "", "tokens": 3, "rank_bytes": 0}
    catalogue = {"me/mine": {"draft": {"kind": "MTP", "tokens": 2}}}
    assert engine(speculative="catalogue", model=MODEL, catalogue=catalogue)["engine"]["speculative"]["tokens"] == 2


def test_a_model_beside_is_nothing_to_the_engine_unless_it_guesses() -> None:
    plain = engine(model=MODEL)
    assert "speculative" not in plain["engine"]
    assert engine(model={**MODEL, "beside": [BESIDE]}) == plain
    assert engine(model={**MODEL, "beside": []}, speculative="") == plain


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"speculative": "catalogue"}, "the catalogue has no draft for me/mine"),
        ({"speculative": {"kind": "NGram"}}, "the kind of spark_speculative is 'NGram'"),
        ({"speculative": EAGLE3}, "asks for me/head to guess tokens, and nothing tells where that is"),
        ({"speculative": EAGLE3, "model": {**MODEL, "beside": {"me/head": 1}}}, "and no list of models"),
        ({"speculative": {"kind": "MTP"}, "options": {"speculative_config": None}}, "leave one of the two out"),
    ],
)
def test_speculation_that_cannot_be_is_refused_and_nothing_was_changed(options: dict[str, Any], says: str) -> None:
    with pytest.raises((PlanError, SpeculativeError)) as error:
        engine(**{"model": MODEL, **options})
    assert says in str(error.value)
    assert str(error.value).endswith("Nothing was changed.")


def test_what_only_the_engine_can_judge_is_a_warning() -> None:
    found = engine(options={"x": 1}, version="any")
    assert "x: 1\n" in found["engine"]["files"]["llm.yml"]
    assert found["warnings"] == [
        "x is no key that is known of any TensorRT-LLM: take it out if the engine refuses it when it starts (judged by "
        "tables alone: the image is not on the leader yet)"
    ]
    assert "doubts" not in found["engine"]
    assert "warnings" not in engine()


SCHEMA = {"title": "TensorRT-LLM 1.4.0rc0 trtllm-serve --config", "properties": {}, "additionalProperties": False}


def test_the_image_that_says_nothing_yet_is_to_be_asked() -> None:
    assert engine(noted=False, image="release:1")["changes"]["spark1"] == [
        {"name": trtllm_plan.KEEP_FACTS, "diff": {"before": "", "after": "release:1\n"}}
    ]
    assert engine(planned_at=12.5)["at"] == 12.5, "a second look is no later plan"
    assert engine(noted=True)["judged"] == {"options": "tables", "arguments": "tables"}


def test_options_are_judged_by_the_schema_of_the_image() -> None:
    known = {
        "enable_iter_perf_stats": {"type": "boolean"},
        "kv_cache_config": {"type": "object", "properties": {"free_gpu_memory_fraction": {"type": "number"}}},
        "newest": {"type": "integer"},
    }
    facts = {"image_id": "sha256:1", "version": "1.4.0rc0", "schema": {**SCHEMA, "properties": known}}
    found = engine(facts=facts, options={"newest": 1})
    assert found["judged"] == {"options": "schema", "arguments": "tables"}
    assert "return_perf_metrics" not in found["engine"]["options"], "which this image does not take"
    with pytest.raises(PlanError) as refused:
        engine(facts=facts, options={"newset": 1}, image_changed=True)
    assert "newset is no key of TensorRT-LLM 1.4.0rc0; did you mean newest? Nothing but" in str(refused.value)
    assert str(refused.value).endswith("Nothing but the image was changed.")


def test_a_schema_of_no_sense_is_a_warning() -> None:
    found = engine(facts={"version": "1.3.0rc13", "schema": {"properties": {"a": 3}}}, image="release:1")
    assert found["judged"]["options"] == "tables"
    assert (
        "The schema of the options in the image release:1 cannot be judged by: it is no JSON schema"
        in found["warnings"][0]
    )


def test_a_date_in_the_options_is_a_word_to_the_engine() -> None:
    found = engine(options={"model_kwargs": {"trained": datetime.date(2026, 11, 29)}}, version="any")
    assert "trained: '2026-11-29'" in found["engine"]["files"]["llm.yml"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model": {"snapshot": 5, "repo_dir": ["/hub"]}}, "snapshot and repo_dir of the model are not known"),
        ({"model": {}}, "snapshot and repo_dir of the model are not known: run the role hf_cache before"),
        (
            {"options": {"x": 1}, "version": "1.3.0rc13"},
            "This model cannot be served as asked: x is no key of TensorRT-LLM's (if the image takes it all the same, "
            "set trtllm_serve_version: any) (judged by tables alone: the image is not on the leader yet). Nothing was "
            "changed.",
        ),
        (
            {"catalogue": {"me/mine": {"kind": "sound"}}},
            "kind of me/mine must be one of text, vision, multimodal, and is 'sound'. Nothing was changed.",
        ),
        (
            {"variables": {"trtllm_serve_api_host": "0.0.0.0"}},
            "trtllm_serve_api_host is engine_serve_api_host now: rename the variable. Nothing was changed.",
        ),
    ],
)
def test_what_cannot_be_told_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises((PlanError, *trtllm_plan.ActionModule.ERRORS)) as refused:
        engine(**options)
    assert says in str(refused.value)


@pytest.fixture(params=[(vllm_plan, "vLLM"), (sglang_plan, "SGLang")], ids=lambda param: param[1])
def other(request: pytest.FixtureRequest) -> tuple[Any, str]:
    """The planner of an engine without MPI, and the engine's title."""
    return request.param


def other_engine(plan: Any, **options: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {"members": ["spark1"], "model": {**MODEL, "bytes": 7}, **options}
    spec = plan.ActionModule.SPEC
    defaults = {name: about["default"] for name, about in spec.items() if "default" in about}
    return run(plan, {**defaults, **wanted})


def test_what_an_engine_is_told_is_no_change_of_its_own(other: tuple[Any, str]) -> None:
    plan, title = other
    image = {"vLLM": "vllm/vllm-openai:v0.28.0", "SGLang": "lmsysorg/sglang:v0.28.0"}[title]
    found = other_engine(plan, arguments={"stream_interval": 1}, image=image)
    assert found["changes"] == {"spark1": []}
    assert "/models/snapshots/a" in found["engine"]["serve"]
    assert found["engine"]["version"] == "0.28.0"
    assert "warnings" not in found
    assert found["engine"]["asked"] == {
        **{"arguments": {"stream_interval": 1}, "environment": {}, "min_kv_tokens": 0, "vision": "auto"},
        "image": image,
    }


def test_what_it_needs_is_told_by_its_own_settings_and_figures(other: tuple[Any, str]) -> None:
    plan, title = other
    said = {"vLLM": {"max_num_seqs": 16, "max_model_len": "16k"}, "SGLang": {"max_running_requests": 16}}[title]
    found = other_engine(
        plan, arguments=said, catalogue={"lab/tiny": {"min_sparks": 2}}, model={**MODEL, "repo": "lab/tiny"}
    )
    demand = found["engine"]["demand"]
    setting = fit.from_json(demand).setting
    assert (demand["model"], demand["min_sparks"], setting.max_batch_size) == ("lab/tiny", 2, 16)
    assert setting.engine == {"vLLM": "vllm", "SGLang": "sglang"}[title]
    assert (setting.max_seq_len, setting.overhead_mib) == {"vLLM": (16000, 0), "SGLang": (0, 12832)}[title]


def test_what_nothing_counts_before_a_start_is_a_doubt_of_the_fit(other: tuple[Any, str]) -> None:
    plan, title = other
    said, memory = {
        "vLLM": ({"speculative_config": {"method": "eagle3", "model": "/draft"}}, "gpu_memory_utilization"),
        "SGLang": (
            {"speculative_algorithm": "EAGLE3", "speculative_draft_model_path": "/draft"},
            "mem_fraction_static",
        ),
    }[title]
    doubts = other_engine(plan, arguments={**said, memory: 0.5})["engine"]["demand"]["doubts"]
    assert any(one.startswith(f"how much memory {memory} leaves") for one in doubts)
    assert any(one.startswith("what the model that guesses tokens takes is not counted") for one in doubts)
    mtp = {"vLLM": {"speculative_config": {"method": "mtp"}}, "SGLang": {"speculative_algorithm": "NEXTN"}}[title]
    assert not any("guesses" in one for one in other_engine(plan, arguments=mtp)["engine"]["demand"]["doubts"])


def test_what_only_that_engine_can_judge_is_a_warning(other: tuple[Any, str]) -> None:
    plan, title = other
    found = other_engine(plan, arguments={"wholly_new": "x"})
    assert f"wholly_new is no flag of {title}" in found["warnings"][0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model": {}}, "snapshot and repo_dir of the model are not known: run the role hf_cache before"),
        ({"speculative": "catalogue"}, "_serve_arguments. Nothing was changed."),
        ({"arguments": {"reasoning_parsre": 1}}, "did you mean reasoning_parser? Nothing was changed."),
        ({"arguments": {"tp": 2}}, "but there are 1 Sparks with one GPU each: make them equal. Nothing was changed."),
    ],
)
def test_what_an_engine_cannot_do_is_refused_with_the_mend(
    other: tuple[Any, str], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(PlanError, match=re.escape(says)):
        other_engine(other[0], **options)
