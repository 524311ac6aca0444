# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What TensorRT-LLM is told, and what is refused before it starts."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trtllm
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError

RC5 = {"version": "1.3.0rc5"}
REPO = "/home/nvidia/.cache/huggingface/hub/models--lab--tiny"


def planned(**changes: Any) -> dict[str, Any]:
    wanted = {
        "members": ["spark1", "spark2"],
        "snapshot": f"{REPO}/snapshots/abc",
        "repo_dir": REPO,
        "options": {"print_iter_log": False, "kv_cache_config": {"dtype": "auto"}},
        "arguments": {"tp_size": 2, "max_batch_size": 4},
    }
    return trtllm.plan(trtllm.Request(**{**wanted, **changes}))


def test_two_sparks() -> None:
    engine = planned()
    assert engine["serve"] == [
        *("trtllm-serve", "/models/snapshots/abc", "--max_batch_size", "4", "--tp_size", "2"),
        *("--host", "127.0.0.1", "--port", "8355"),
        *("--extra_llm_api_options", "/etc/dgx-spark/engine/llm.yml"),
    ]
    assert (engine["name"], engine["world"]) == ("trtllm", 2)


def test_what_the_options_leave_open_is_set_beneath_them() -> None:
    options = planned()["options"]
    assert options["kv_cache_config"] == {"dtype": "auto", "free_gpu_memory_fraction": 0.8}
    assert options["enable_iter_perf_stats"] is True
    given = {"enable_iter_perf_stats": False, "kv_cache_config": {"free_gpu_memory_fraction": 0.5}}
    assert planned(options=given)["options"] == given


@pytest.mark.parametrize(
    ("version", "tag", "follows"),
    [
        ("1.2.1", "", True),
        ("1.3.0rc5", "", False),
        ("any", "", False),
        ("any", ":1.2.0rc6.post3", True),  # what is not checked is known all the same
        ("", ":1.2.0rc6.post3", True),
        ("", ":v1.1.0.dev2025100700", True),
        ("any", ":1.3.0rc5.post1", False),
        ("1.3.0rc5", ":1.2.1", False),
        ("", ":nightly@sha256:12", False),
    ],
)
def test_a_metrics_that_follows_its_tokens_is_that_of_an_old_version(version: str, tag: str, follows: bool) -> None:
    settings = planned(version=version, image=f"nvcr.io/nvidia/tensorrt-llm/release{tag}")["settings"]
    assert (settings["name"], settings["metrics_follow"]) == ("trtllm", follows)


@pytest.mark.parametrize(
    ("said", "fit"),
    [
        ({}, True),
        ({"options": {"kv_cache_config": {"dtype": "fp8"}}}, True),
        ({"options": {"kv_cache_config": {"free_gpu_memory_fraction": 0.9}}}, False),
    ],
)
def test_a_kv_cache_whose_size_somebody_has_said_is_left_alone(said: dict, fit: bool) -> None:
    settings = planned(version="any", **said, min_kv_tokens=8192)["settings"]
    assert (settings["fit_kv_cache"], settings["min_kv_tokens"]) == (fit, 8192)


def test_no_token_ever() -> None:
    assert not set(planned()["environment"]) & {"NCCL_IB_GID_INDEX", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}


@pytest.mark.parametrize(
    ("config", "told"), [({}, False), ({"model_type": "llama"}, False), ({"model_type": "gpt_oss"}, True)]
)
def test_gpt_oss_is_told_where_its_vocabularies_are(config: dict[str, Any], told: bool) -> None:
    engine = planned(config=config, encodings={"o200k_base.tiktoken": "12"}, encodings_url="http://hub")
    assert ("TIKTOKEN_ENCODINGS_BASE" in engine["environment"]) == told
    wanted = {"name": "o200k_base.tiktoken", "url": "http://hub/o200k_base.tiktoken", "sha256": "12"}
    assert engine["downloads"] == ([wanted] if told else [])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"members": []}, "no node to serve on"),
        (
            {"version": "1.3.0rc5", "options": {"print_iter_logs": True}},
            r"print_iter_logs is no key .* did you mean print_iter_log\?",
        ),
        (
            {"version": "1.3.0rc5", "options": {"kv_cache_config": {"dtypes": "auto"}}},
            r"did you mean kv_cache_config.dtype\?",
        ),
        ({"arguments": {"tp_size": 4}}, "tp_size x pp_size x cp_size is 4, but there are 2 Sparks"),
        ({"snapshot": "/elsewhere/abc"}, "is not below"),
        ({"api_host": "spark1"}, "cannot listen on 'spark1'"),
        ({"api_host": "::1"}, "give an IPv4 address"),
        ({"arguments": {"tp_size": 0}}, "tp_size x pp_size x cp_size is 0, but there are 2"),
        ({"options": {"tensor_parallel_size": "0"}, "arguments": {}}, "cp_size is 0, but there are 2"),
        ({"options": {"tensor_parallel_size": "1e3"}, "arguments": {}}, "cp_size is 1000, but there are 2"),
        ({"config": {"text_config": {"num_attention_heads": 25}}}, "tp_size 2 does not divide the 25"),
        ({"config": {"text_config": {"num_attention_heads": None}, "num_attention_heads": 25}}, "divide the 25"),
        ({"config": {"num_attention_heads": 25}}, "tp_size 2 does not divide the 25 attention heads"),
        ({"config": {"num_attention_heads": 1}}, "tp_size 2 does not divide the 1 "),
        # InternVL3, DeepSeek-VL2 and Qwen3-Omni, each with its model's own name for the part that is split
        ({"config": {"llm_config": {"num_attention_heads": 25}}}, "tp_size 2 does not divide the 25"),
        ({"config": {"language_config": {"num_attention_heads": 25}}}, "tp_size 2 does not divide the 25"),
        (
            {"config": {"thinker_config": {"text_config": {"num_attention_heads": 25}}, "num_attention_heads": 64}},
            "tp_size 2 does not divide the 25",
        ),
        ({"config": {"text_config": {"num_attention_heads": True}, "num_attention_heads": 25}}, "divide the 25"),
    ],
)
def test_what_would_fail_later_is_refused_now(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ServeError, match=says):
        planned(**changes)


@pytest.mark.parametrize(
    "config",
    [
        {"num_attention_heads": 64},
        {"text_config": None, "num_attention_heads": 64},  # llm-d/llm-d-benchmark#426: nulls that are written out
        {"text_config": [], "num_attention_heads": 64},
        {"text_config": {"num_attention_heads": None}, "num_attention_heads": 64},
        {"text_config": {}},
        {"num_attention_heads": "many"},
        {"num_attention_heads": None},
        {"num_attention_heads": True},
        {"num_attention_heads": -25},
        {"llm_config": None, "language_config": [], "thinker_config": {"text_config": 3}, "num_attention_heads": 64},
        {"thinker_config": None},
        {"llm_config": {"num_attention_heads": 64}, "num_attention_heads": 25},
    ],
)
def test_a_model_that_can_be_split_is_planned(config: dict[str, Any]) -> None:
    assert planned(config=config)["world"] == 2


# NVIDIA's Spark guide for Nemotron 3 Super (NVIDIA-NeMo/Nemotron, SparkDeploymentGuide, image 1.3.0rc9); the option
# of the Mamba cache came with NVIDIA/TensorRT-LLM#11972.
NEMOTRON = {
    "kv_cache_config": {
        "dtype": "fp8",
        "enable_block_reuse": False,
        "free_gpu_memory_fraction": 0.9,
        "mamba_ssm_cache_dtype": "float16",
        "mamba_ssm_stochastic_rounding": True,
        "mamba_ssm_philox_rounds": 5,
    },
    "moe_config": {"backend": "CUTLASS"},
    "cuda_graph_config": {"enable_padding": True, "max_batch_size": 8},
    "speculative_config": {"decoding_type": "MTP", "num_nextn_predict_layers": 3, "allow_advanced_sampling": True},
}
# What NVIDIA's page about Qwen3.8-Flash-Next has (docs of NVIDIA/TensorRT-LLM).
FLASH = {"speculative_config": {"decoding_type": "MTP", "max_draft_len": 3, "advanced_sampling_mode": "full"}}
# Of examples/auto_deploy/nano_v3.yaml of NVIDIA/TensorRT-LLM.
NANO = {
    "runtime": "trtllm",
    "compile_backend": "torch-cudagraph",
    "attn_backend": "flashinfer",
    "model_factory": "AutoModelForCausalLM",
    "cuda_graph_batch_sizes": [1, 2],
    "transforms": {"detect_sharding": {"allreduce_strategy": "SYMM_MEM", "sharding_dims": ["ep", "bmm"]}},
}
LATE = {"enable_in_graph_sampling": True}  # of era C alone


@pytest.mark.parametrize("version", ["1.3.0rc1", "1.3.0rc9", "1.3.0rc13", "1.3.0rc25", "1.3.0rc26.dev202609010000"])
def test_keys_that_came_with_a_release_candidate_are_doubted_at_most(version: str) -> None:
    assert planned(version=version, options=NEMOTRON)["doubts"] == []
    (doubt,) = planned(version=version, options=LATE)["doubts"]
    assert re.search("enable_in_graph_sampling is a key of TensorRT-LLM 1.3 and later, and no table tells", doubt)
    assert planned(version="1.3.0", options=LATE)["doubts"] == []


def test_the_candidates_of_1_2_may_have_what_the_next_table_has_but_not_what_came_later() -> None:
    for version in ("1.2.0rc2", "1.2.0rc6.post3", "1.2.1"):
        (doubt,) = planned(version=version, arguments={"tp_size": 2, "tool_parser": "qwen3"})["doubts"]
        assert "tool_parser is a flag of TensorRT-LLM 1.3.0rc, and no table" in doubt
        with pytest.raises(
            ServeError, match=r"disable_mm_encoder is a key of TensorRT-LLM 1.3 and later, .*is 1.2 and"
        ):
            planned(version=version, options={"disable_mm_encoder": True})
        with pytest.raises(ServeError, match=r"tensor_parallel_size is a flag of .*say tp_size"):
            planned(version=version, arguments={"tensor_parallel_size": 2})
    for version in ("1.1.0", "1.2.0rc1"):
        with pytest.raises(ServeError, match=r"tool_parser is a flag of TensorRT-LLM 1.3.0rc and 1.3 and later"):
            planned(version=version, arguments={"tp_size": 2, "tool_parser": "qwen3"})


@pytest.mark.parametrize("version", ["1.3.0rc26", "1.3.0rc27.dev202609170000", "1.3.0", "1.4.0rc0", "2.0.0"])
def test_what_no_table_has_is_doubted_of_a_version_that_is_newer_than_all_unless_it_looks_misspelt(
    version: str,
) -> None:
    new = {  # of TensorRT-LLM 1.4.0rc0
        **FLASH,
        "kv_cache_config": {"disk_cache_path": "/var/tmp"},
        "enable_tokenization_cache": True,
        "mla_skip_correction_threshold": 0.5,
        "moe_config": {"backend": "CUTEDSL_FC12"},
    }
    plan = planned(version=version, options=new, arguments={"tp_size": 2, "grpc-protocol": "smg"})
    assert len(plan["doubts"]) == 6
    for options in ({"print_iter_logs": True}, {"kv_cache_config": {"free_gpu_memory_fractoin": 0.5}}):
        with pytest.raises(ServeError, match=r"did you mean .*set trtllm_serve_version: any"):
            planned(version=version, options=options)
    with pytest.raises(ServeError, match=r"tp_sise is no flag .*did you mean tp_size"):
        planned(version=version, arguments={"tp_sise": 2})


@pytest.mark.parametrize("told", [{"version": "any"}, {"image": "nvcr.io/nvidia/tensorrt-llm/release:nightly"}])
def test_what_no_table_has_is_doubted_where_the_version_is_any(told: dict[str, str]) -> None:
    (doubt,) = planned(**told, options=FLASH)["doubts"]
    assert re.search("advanced_sampling_mode is no key that is known of any TensorRT-LLM .*take it out if", doubt)
    (doubt,) = planned(**told, options={"moe_config": {"backend": "CUTEDSL_FC12"}})["doubts"]
    assert re.search("moe_config.backend must be one of .*, and is 'CUTEDSL_FC12'", doubt)
    plan = planned(**told, arguments={"tp_size": 2, "grpc-protocol": "smg", "enable_ugpu": True, "off": False})
    assert len(plan["doubts"]) == 3
    assert plan["serve"][2:7] == ["--enable_ugpu", "--grpc-protocol", "smg", "--tp_size", "2"]
    with pytest.raises(ServeError, match=r"advanced_sampling_mode is no key .*set trtllm_serve_version: any"):
        planned(version="1.3.0rc25", options=FLASH)
    with pytest.raises(ServeError, match=r"is 'CUTEDSL_FC12' .*set trtllm_serve_version: any"):
        planned(version="1.3.0rc25", options={"moe_config": {"backend": "CUTEDSL_FC12"}})
    with pytest.raises(ServeError, match=r"kv_cache_config must be a mapping, and is 0.5"):
        planned(**told, options={"kv_cache_config": 0.5})
    with pytest.raises(ServeError, match="is no name of a flag"):
        planned(**told, arguments={"tp_size": 2, "--new flag": "x"})
    with pytest.raises(ServeError, match="splits what it starts at blanks"):
        planned(**told, arguments={"tp_size": 2, "new": "a b"})


@pytest.mark.parametrize(
    "said",
    [
        {"arguments": {"backend": "_autodeploy"}, "options": NANO},
        {"arguments": {}, "options": {**NANO, "backend": "_autodeploy"}},
    ],
)
@pytest.mark.parametrize("version", ["1.2.0rc6.post3", "1.3.0rc13", "1.3.0", "any"])
def test_autodeploy_has_keys_of_its_own_whichever_way_it_is_chosen(said: dict[str, Any], version: str) -> None:
    options = {**said["options"], "world_size": 2}
    plan = planned(version=version, arguments=said["arguments"], options=options)
    assert plan["world"] == 2
    assert plan["options"]["compile_backend"] == "torch-cudagraph"
    assert "AutoDeploy, which has keys of its own" in plan["doubts"][0]
    with pytest.raises(ServeError, match="world_size is 1, but there are 2 Sparks"):
        planned(version=version, **said)
    with pytest.raises(ServeError, match="tensor_parallel_size is 2, and AutoDeploy splits by world_size alone"):
        planned(version=version, arguments={**said["arguments"], "tp_size": 2}, options=options)


def test_the_keys_of_autodeploy_are_no_keys_of_the_other_backend() -> None:
    with pytest.raises(ServeError, match="compile_backend is no key of TensorRT-LLM's"):
        planned(version="1.3.0rc13", options=NANO)
