# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What vLLM's arguments are refused for before it starts, and the command line that they become."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.flags import Flag
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.vllm_cli import FLAGS, VERSION
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.vllm_options import PARSER
from hypothesis import given
from hypothesis import strategies as st


def refused(told: dict[str, Flag] | None = None, **arguments: Any) -> list[str]:
    return [one.text for one in PARSER.findings(arguments, told) if one.refused]


def doubted(**arguments: Any) -> list[str]:
    return [one.text for one in PARSER.findings(arguments) if not one.refused]


@pytest.mark.parametrize(
    "said",
    [
        {"tensor_parallel_size": 2, "pp": "2", "seed": -1},
        {"max_model_len": "16k", "kv_cache_memory_bytes": "2G", "max_num_batched_tokens": 8192},
        {"max_model_len": "auto", "gpu_memory_utilization": 0.5, "enforce_eager": True},
        {"enable-prefix-caching": False, "enable_chunked_prefill": None, "aggregate_engine_logging": True},
        {
            "served_model_name": ["a", "b"],
            "compilation_config": {"mode": 3},
            "compilation_config.cudagraph_mode": "NONE",
        },
        {"speculative_config": {"method": "ngram", "num_speculative_tokens": 4}, "hf_overrides": "{}"},
        {"dtype": "bfloat16", "kv_cache_dtype": "fp8", "tool_call_parser": "hermes", "load_format": "dummy"},
    ],
    ids=str,
)
def test_what_vllm_takes_passes(said: dict[str, Any]) -> None:
    assert list(PARSER.findings(said)) == []


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"max_modle_len": 1}, f"max_modle_len is no flag of vLLM {VERSION}; did you mean max_model_len?"),
        (
            {"host": "0.0.0.0"},
            "host is set by the role: leave it out of vllm_serve_arguments; set engine_serve_api_host",
        ),
        ({"node_rank": 1}, "node_rank is set by the role"),
        ({"headless": True}, "headless is set by the role"),
        ({"data_parallel_size": 2}, "serve another instance for another copy"),
        ({"distributed_executor_backend": "ray"}, "starts a process on every node, without Ray"),
        ({"disable_log_stats": True}, "tells a busy engine from a dead one by these figures"),
        ({"ssl_keyfile": "/k"}, "docs/clients.md"),
        ({"max_num_seqs": "many"}, "max_num_seqs must be a whole number, and is 'many'"),
        ({"max_num_seqs": True}, "max_num_seqs must be a whole number"),
        ({"max_num_seqs": 1.5}, "max_num_seqs must be a whole number"),
        ({"max_model_len": "16x"}, "max_model_len must be a whole number, or one such as 16k or 2G"),
        ({"gpu_memory_utilization": "nan"}, "gpu_memory_utilization must be a number"),
        ({"enforce_eager": "maybe"}, "enforce_eager must be true or false"),
        ({"compilation_config": True}, "compilation_config must be a mapping"),
        ({"served_model_name": ["-x"]}, "served_model_name must be a list"),
        ({"tokenizer": ["a"]}, "tokenizer must be a string"),
        ({"no_enable_prefix_caching": True}, "no_enable_prefix_caching says the contrary of enable-prefix-caching"),
        ({"no_max_num_seqs": True}, "no_max_num_seqs is no flag of vLLM's: max-num-seqs is"),
        ({"max_num_seqs.x": 1}, "max_num_seqs.x is a key below max-num-seqs, which takes no mapping"),
        ({"tp": 2, "tensor_parallel_size": 2}, "tp and tensor_parallel_size are two spellings of one flag"),
        ({"max-model-len": 1, "max_model_len": 1}, "max-model-len and max_model_len are two spellings"),
        ({"a b": 1}, "'a b' is no name of a flag"),
        ({"": 1}, "'' is no name of a flag"),
    ],
    ids=str,
)
def test_what_would_end_a_start_is_refused(said: dict[str, Any], says: str) -> None:
    (text,) = [one.text for one in PARSER.findings(said) if one.refused]
    assert says in text


@pytest.mark.parametrize("name", ["api_key", "hf-token", "--api-key"])
def test_a_secret_is_refused_and_not_told(name: str) -> None:
    (text,) = refused(**{name: "s3cr3t-v4lue"})
    assert text.startswith(f"{name} is a secret")
    assert "s3cr3t" not in text


def test_what_another_version_may_take_is_a_doubt() -> None:
    assert refused(warmup_config="x", dtype="float8") == []
    unknown, choice = doubted(warmup_config="x", dtype="float8")
    assert unknown.startswith(f"warmup_config is no flag of vLLM {VERSION}")
    assert "dtype must be one of auto, " in choice
    assert choice.endswith("take it out if the engine refuses it when it starts")


def test_the_images_own_flags_are_all_there_is() -> None:
    told = {"warmup-config": Flag("json"), "dtype": Flag("str", ("auto", "float8"))}
    assert refused(told, warmup_config={}, dtype="float8") == []
    (unknown,) = refused(told, enforce_eager=True)
    assert unknown.startswith("enforce_eager is no flag of the image's vllm serve")
    (choice,) = refused(told, dtype="bfloat16")
    assert choice == "dtype must be one of auto, float8, and is 'bfloat16'"


def test_what_is_null_is_left_out_whatever_it_is() -> None:
    said = {"host": None, "nonsense": None, "tp": None, "tensor_parallel_size": 1}
    assert list(PARSER.findings(said)) == []
    assert PARSER.render(said) == ["--tensor-parallel-size", "1"]
    assert PARSER.said(said, "tensor-parallel-size") == 1


def test_a_value_is_one_word_of_the_command_line() -> None:
    said = {"chat_template": "{{ a b }}", "seed": -1, "override_generation_config": {"b": 1, "a": "x y"}, "new": False}
    assert PARSER.render(said) == [
        *("--chat-template", "{{ a b }}", "--no-new"),
        *("--override-generation-config", '{"a": "x y", "b": 1}', "--seed=-1"),
    ]


names = st.sampled_from(sorted(FLAGS)) | st.text(max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(names, values, max_size=5))
def test_whatever_is_said_is_judged_and_what_passes_is_words(said: dict[str, Any]) -> None:
    found = list(PARSER.findings(said))
    assert json.dumps([one.text for one in found])
    if not any(one.refused for one in found):
        words = PARSER.render(said)
        assert all(isinstance(word, str) and "\0" not in word for word in words)
        assert PARSER.render(dict(reversed(said.items()))) == words, "in whatever order it was said"
