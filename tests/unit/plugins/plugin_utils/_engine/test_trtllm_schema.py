# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options are judged by the schema of the image that they are for, and each error is told in one sentence."""

from __future__ import annotations

import copy
import importlib
import re
import sys
from pathlib import Path
from typing import Any, Iterator, Mapping

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trtllm
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._engine.trtllm_schema import Schema, SchemaError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue
from hypothesis import given
from hypothesis import strategies as st

ENGINE = Path(__file__).parents[5] / "lab" / "roles" / "virtual_spark" / "files" / "engine"


def stand_in(name: str) -> Any:
    if str(ENGINE) not in sys.path:
        sys.path.insert(0, str(ENGINE))
    return importlib.import_module(f"tensorrt_llm.simulation.{name}")


DOCUMENT: dict[str, Any] = stand_in("schema").schema("1.4", "1.4.0rc0")
SCHEMA = Schema(DOCUMENT)
#: what TensorRT-LLM 1.4.0rc0 takes and the tables of 1.3 do not have: 25 keys and a value
NEW: list[dict[str, Any]] = [
    {"allow_request_chat_template": True},
    {"hf_revision": "main"},
    {"internal_request_auth_key": "0123"},
    {"decoding_config": {"decoding_mode": "auto"}},
    {"enable_tokenization_cache": True},
    {"enable_return_routed_experts": True},
    {"iter_perf_stats_interval": 10},
    {"per_request_spec_decode_stats": True},
    {"perf_metrics_output_dir": "/var/lib/dgx-spark/engine/metrics"},
    {"mla_skip_correction_threshold": 8.0},
    {"use_cute_dsl_bf16_gemm": True},
    {"use_cute_dsl_bf16_bmm": True},
    {"use_fine_grained_sync": True},
    {"enable_speculative_beam_history_d2h": True},
    {"kv_cache_config": {"disk_cache_path": "/var/cache", "disk_cache_size": 10**9}},
    {"cache_transceiver_config": {"enable_pipelined_transfer": True}},
    {"cache_transceiver_config": {"kv_cache_bounce_size_mb": 64}},
    {"speculative_config": {"decoding_type": "MTP", "moe_backend": "CUTLASS"}},
    {"speculative_config": {"decoding_type": "MTP", "enable_penalty": True}},
    {"speculative_config": {"decoding_type": "DSpark", "markov_rank": 4}},
    {"speculative_config": {"decoding_type": "DSpark", "markov_head_type": "vanilla"}},
    {"speculative_config": {"decoding_type": "MTP", "sa_config": {"threshold": 4, "enable_global_pool": True}}},
    {"sleep_config": {"restore_modes": {"model": "PINNED", "kv_cache": "NONE"}}},
    {"telemetry_config": {"usage_context": "server"}},
    {"ray_worker_nsight_options": {"t": "cuda"}},
    {"post_processor_hook": "my_pkg.Hook"},
    {"kv_connector_config": {"server_url": "tcp://127.0.0.1:5555"}},
    {"moe_config": {"backend": "CUTEDSL_FC12"}},
]


def refused(options: Mapping[str, Any], schema: Schema = SCHEMA) -> list[str]:
    return [one.text for one in schema.findings(options) if one.refused]


@pytest.mark.parametrize("options", NEW, ids=str)
def test_what_came_with_1_4_passes(options: dict[str, Any]) -> None:
    assert SCHEMA.findings(options) == []


def leaf_of(options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The innermost mapping of named keys, and its last key."""
    name = list(options)[-1]
    inner = options[name]
    is_group = isinstance(inner, dict) and name not in ("decoding_config", "ray_worker_nsight_options", "restore_modes")
    return leaf_of(inner) if is_group else (options, name)


@pytest.mark.parametrize("options", NEW, ids=str)
def test_a_misspelt_one_is_refused_with_the_right_name(options: dict[str, Any]) -> None:
    wrong = copy.deepcopy(options)
    group, name = leaf_of(wrong)
    misspelt = f"{name[0]}{name}"
    group[misspelt] = group.pop(name)
    said = [text for text in refused(wrong) if "is no key of" in text]
    assert len(said) == 1
    assert re.search(rf"(?:^|\.){misspelt} is no key of TensorRT-LLM 1\.4\.0rc0.*; did you mean {name}", said[0]), said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kv_cache_config": 0.5}, r"^kv_cache_config must be a mapping, and is 0\.5$"),
        (
            {"free_gpu_memory_fraction": 0.5},
            r"^free_gpu_memory_fraction is no key .*did you mean free_gpu_memory_fraction below kv_cache_config\?$",
        ),
        (
            {"kv_cache_config": {"free_gpu_memory_fraction": "1.5"}},
            r"^kv_cache_config\.free_gpu_memory_fraction must be at most 1, and is '1\.5'$",
        ),
        ({"kv_cache_config": {"free_gpu_memory_fraction": float("nan")}}, "and is nan"),
        (
            {"kv_cache_config": {"use_kv_cache_manager_v2": [3]}},
            r"manager_v2 must be true or false or auto, and is \[3\]",
        ),
        ({"max_batch_size": "many"}, r"^max_batch_size must be a whole number, and is 'many'$"),
        ({"max_batch_size": 2.5}, "must be a whole number"),
        ({"max_num_tokens": 10**400}, r"must be a whole number, and is 1000.*\.\.\.$"),
        ({"print_iter_log": "perhaps"}, r"^print_iter_log must be true or false, and is 'perhaps'$"),
        (
            {"cuda_graph_config": {"batch_sizes": [1, "x"]}},
            r"^cuda_graph_config\.batch_sizes\[1\] must be a whole number",
        ),
        ({"cuda_graph_config": {"batch_sizes": 4}}, r"batch_sizes must be a list, and is 4$"),
        ({"allreduce_strategy": "nccl"}, r"^allreduce_strategy must be AUTO, NCCL, .*; did you mean NCCL\?$"),
        (
            {"speculative_config": {"decoding_type": "MTPP"}},
            r"decoding_type must be .*and is 'MTPP'; did you mean MTP\?$",
        ),
        ({"speculative_config": {"decoding_type": ["MTP"]}}, r"decoding_type must be .*, and is \['MTP'\]$"),
        ({"speculative_config": {"max_draft_len": 3}}, r"^speculative_config\.decoding_type is missing, which decides"),
        ({"speculative_config": 4}, r"^speculative_config must be a mapping, and is 4$"),
        ({"cuda_graph_config": {"max_tokens": 4}}, r"did you mean num_tokens below cuda_graph_config\?$"),
        ({"tp_size": 2}, r"^tp_size is no key .*: it is a flag of trtllm-serve, say it in trtllm_serve_arguments$"),
        ({"kv_cache_config.dtype": "fp8"}, r"one name with dots in it, say dtype below kv_cache_config$"),
        ({"stream_interval": 0}, r"^stream_interval must be at least 1, and is 0$"),
        ({"trust_remote_code": None}, r"^trust_remote_code must be true or false, and is None$"),
    ],
)
def test_an_error_is_one_sentence_with_its_path_and_what_was_meant(options: dict[str, Any], says: str) -> None:
    said = refused(options)
    assert any(re.search(says, one) for one in said), said


@pytest.mark.parametrize(
    "options",
    [
        {"max_batch_size": "4", "print_iter_log": "yes", "kv_cache_config": {"free_gpu_memory_fraction": "0.5"}},
        {"max_batch_size": 4.0, "trust_remote_code": 1, "max_seq_len": None},
        {
            "kv_cache_config": {"use_kv_cache_manager_v2": "auto"},
            "load_format": "DUMMY",
            "cp_config": {"cp_type": "star"},
        },
        {"speculative_config": {"decoding_type": "SaveState", "eagle3_layers_to_capture": [1, 1]}},
        {"speculative_config": {"decoding_type": "MTP", "draft_len_schedule": {1: 3, "8": 2}}},
        {"cuda_graph_config": None, "speculative_config": None, "kv_cache_config": {}},
        {"kv_cache_config": {"kv_events_config": {}}, "moe_config": {"load_balancer": "/models/balancer.yml"}},
        {"peft_cache_config": {"anything": 1}, "kv_cache_config": {"mamba_ssm_philox_rounds": 5}},
    ],
    ids=str,
)
def test_what_pydantic_takes_passes(options: dict[str, Any]) -> None:
    assert refused(options) == []
    stand_in("llm_args").check(options, "1.4")


def test_a_secret_is_not_told() -> None:
    wrong = {
        "internal_request_auth_key": ["s3cr3t"],
        "env_overrides": "s3cr3t",
        "otlp_traces_endpoint": ["http://me:s3cr3t@h"],
    }
    said = refused(wrong)
    assert len(said) == 3
    assert "s3cr3t" not in " ".join(said)


def test_a_key_of_no_use_is_a_warning_with_what_the_image_says_of_it() -> None:
    options = {
        "perf_metrics_max_requests": 5,
        "speculative_config": {"decoding_type": "MTP", "allow_advanced_sampling": True},
    }
    found = SCHEMA.findings(options)
    assert [one.refused for one in found] == [False, False]
    assert "perf_metrics_max_requests is deprecated in TensorRT-LLM 1.4.0rc0: Deprecated compat" in found[0].text
    assert "speculative_config.allow_advanced_sampling is deprecated in TensorRT-LLM 1.4.0rc0: no-op. " in found[1].text


def test_null_leaves_out_what_cannot_be_null() -> None:
    options = {
        "enable_tokenization_cache": None,
        "max_seq_len": None,
        "kv_cache_config": {"free_gpu_memory_fraction": None, "max_tokens": None},
        "speculative_config": {"decoding_type": "MTP", "enable_penalty": None},
        "no_such_key": None,
    }
    assert SCHEMA.without_nulls(options) == {
        "max_seq_len": None,
        "kv_cache_config": {"max_tokens": None},
        "speculative_config": {"decoding_type": "MTP"},
        "no_such_key": None,
    }


def test_a_key_of_another_alternative_is_said_to_be_none_of_the_chosen_one() -> None:
    tagged = {"discriminator": {"propertyName": "algorithm", "mapping": {"a": "#/$defs/A", "b": "#/$defs/B"}}}
    group = {"type": "object", "additionalProperties": False}
    schema = Schema(
        {
            "properties": {
                "s": {"anyOf": [{**tagged, "oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}]}, {"type": "null"}]}
            },
            "$defs": {
                "A": {
                    **group,
                    "properties": {"algorithm": {"const": "a"}, "top": {"type": "integer"}},
                    "required": ["top"],
                },
                "B": {**group, "properties": {"algorithm": {"const": "b"}, "window": {"type": "integer"}}},
            },
        }
    )
    assert refused({"s": {"algorithm": "a", "window": 1}}, schema) == [
        "s.window is no key of the image's schema with s.algorithm a",
        "s.top is missing",
    ]
    assert refused({"s": {"algorithm": "b", "window": 1}}, schema) == []
    assert (schema.takes("s.window"), schema.takes("s.nothing"), schema.takes("window")) == (True, False, False)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"properties": 3},
        {"properties": {"a": {"type": "no such type"}}},
        {"properties": {"a": 3}},
        {"properties": {"a": {"properties": []}}},
        {"properties": {"a": {"anyOf": {"type": "string"}}}},
        {"properties": {"a": {"anyOf": [3]}}},
        {"properties": {"a": {"items": 3}}},
        {"properties": {"a": {"enum": "x"}}},
        {"properties": {"a": {"$ref": "#/$defs/None"}}},
        {"properties": {"a": {"$ref": "https://example.com/schema.json"}}},
        {"properties": {"a": {"$ref": "#/properties/a"}}},
        {"properties": {"a": {"discriminator": {"propertyName": "x", "mapping": {"y": "#/gone"}}, "oneOf": [{}]}}},
    ],
    ids=str,
)
def test_what_cannot_be_judged_by_is_refused_as_a_schema(document: Any) -> None:
    with pytest.raises(SchemaError):
        Schema(document)


def test_a_pattern_of_no_meaning_is_told_when_it_is_met() -> None:
    schema = Schema({"properties": {"a": {"pattern": "("}, "b": {"type": "string"}}})
    with pytest.raises(SchemaError):
        schema.findings({"a": "x"})
    assert schema.findings({"b": "x"}) == []


# --- any document that the schema has passes, and one that was changed does not ---------------------------------------


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in schema:
        return schema
    found: Any = DOCUMENT
    for part in schema["$ref"].split("/")[1:]:
        found = found[part]
    return found


def values(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """What a schema takes, as JSON's types and as pydantic's."""
    schema = resolved(schema)
    if "discriminator" in schema:
        return st.one_of([values({"$ref": place}) for place in schema["discriminator"]["mapping"].values()])
    if "anyOf" in schema:
        return st.one_of([values(one) for one in schema["anyOf"]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        tag = {name: values(one) for name, one in schema.get("properties", {}).items() if "const" in one}
        rest = {name: values(one) for name, one in schema.get("properties", {}).items() if name not in tag}
        return st.fixed_dictionaries(tag, optional=rest) if rest or tag else st.just({})
    if kind == "array":
        return st.lists(values(schema.get("items", {"type": "integer"})), max_size=3)
    least, most = schema.get("minimum", 0), schema.get("maximum", 2**31)
    numbers = st.integers(int(least), int(most)) if kind == "integer" else st.floats(least, most)
    return {
        "integer": numbers | numbers.map(str) | numbers.map(float),
        "number": numbers | numbers.map(str),
        "boolean": st.booleans() | st.sampled_from(["true", "off", 1, 0, "yes", "F"]),
        "string": st.text(max_size=5),
        "null": st.none(),
    }.get(str(kind), st.none())


def some(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: values(DOCUMENT["properties"][name]) for name in names})


KEYS = sorted(DOCUMENT["properties"])
DOCUMENTS = st.lists(st.sampled_from(KEYS), max_size=6, unique=True).flatmap(some)


def groups(options: Any, schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[dict[str, Any], str, list[str]]]:
    """Every mapping of a document that takes no other keys, with its path and the keys that it may have."""
    schema = resolved(schema)
    if "discriminator" in schema and isinstance(options, dict):
        tag = options[schema["discriminator"]["propertyName"]]
        schema = resolved({"$ref": schema["discriminator"]["mapping"][tag]})
    for one in schema.get("anyOf", ()):
        yield from groups(options, one, path)
    if isinstance(options, dict) and schema.get("type") == "object" and schema.get("additionalProperties") is False:
        yield options, path, list(schema["properties"])
        for name, inner in options.items():
            if name in schema["properties"]:
                yield from groups(inner, schema["properties"][name], f"{path}{name}.")


@given(DOCUMENTS)
def test_any_document_that_the_schema_has_passes(document: dict[str, Any]) -> None:
    assert refused(document) == []
    stand_in("llm_args").check(document, "1.4")  # and is served by the engine that has it


@given(DOCUMENTS, st.data())
def test_a_document_with_a_key_too_many_is_refused_with_its_path(document: dict[str, Any], data: st.DataObject) -> None:
    group, path, known = data.draw(st.sampled_from(list(groups(document, DOCUMENT))))
    name = data.draw(st.text("abcdefgh_", min_size=1, max_size=12).filter(lambda one: one not in known))
    if path == "kv_cache_config." and name.startswith("mamba"):
        return
    group[name] = data.draw(st.none() | st.integers() | st.just("x"))
    said = refused(document)
    assert len(said) == 1
    assert said[0].startswith(f"{path}{name} is no key of TensorRT-LLM 1.4.0rc0")


def scalars(options: Any, schema: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    for group, path, _known in groups(options, schema):
        yield from (
            (group, name, f"{path}{name}") for name, value in group.items() if not isinstance(value, (dict, list))
        )


@given(DOCUMENTS, st.data())
def test_a_document_with_a_wrong_value_is_refused_with_its_path(document: dict[str, Any], data: st.DataObject) -> None:
    places = list(scalars(document, DOCUMENT))
    if not places:
        return
    group, name, path = data.draw(st.sampled_from(places))
    group[name] = [{"no": ["such", "value"]}]  # which no key of any kind takes
    said = refused(document)
    assert said
    assert all(one.startswith(path) for one in said), said


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text() | st.sampled_from(KEYS), one),
        max_leaves=8,
    )
)
def test_no_options_break_the_judgement(anything: Any) -> None:
    options = anything if isinstance(anything, dict) else {"kv_cache_config": anything}
    assert isinstance(SCHEMA.findings(options), list)
    SCHEMA.without_nulls(options)


@pytest.mark.parametrize(("handle", "entry"), catalogue.load().items())
def test_an_entry_of_the_catalogue_passes_a_schema_of_1_4(handle: str, entry: dict[str, Any]) -> None:
    """Judged by that alone, nothing of the entry is left out."""
    sparks = 4 if "405B" in handle else entry["min_sparks"]
    plan = trtllm.plan(
        trtllm.Request(
            members=[f"spark{number}" for number in range(sparks)],
            snapshot="/cache/models--x/snapshots/abc",
            repo_dir="/cache/models--x",
            version="1.4.0rc0",
            config=entry["config"],
            arguments={"tp_size": sparks},
            entry=entry,
            facts={"schema": DOCUMENT},
            schema=SCHEMA,
        )
    )
    assert plan["judged"]["options"] == "schema"
    assert not [text for text in plan["doubts"] if "left out" in text]
    assert SCHEMA.findings(plan["options"]) == []


def test_a_controller_without_the_library_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{Schema.__module__}.JSONSCHEMA_MISSING", True)
    with pytest.raises(SchemaError, match="pip install jsonschema"):
        Schema(DOCUMENT)
