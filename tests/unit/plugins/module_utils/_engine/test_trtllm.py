# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What TensorRT-LLM is told, and what is refused before it starts."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trtllm
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trtllm_options as settings
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError

NVIDIA = "nvcr.io/nvidia/tensorrt-llm/release"
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
    assert options["return_perf_metrics"] is True
    given = {
        "enable_iter_perf_stats": False,
        "return_perf_metrics": False,
        "kv_cache_config": {"free_gpu_memory_fraction": 0.5},
    }
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


@pytest.mark.parametrize(
    ("said", "strategy"),
    [
        ({"version": "1.3.0rc5"}, "NCCL"),
        ({"version": "1.3.0rc11.post2"}, "NCCL"),
        ({"version": "1.2.1"}, "NCCL"),
        ({"version": "1.3.0rc12"}, None),
        ({"version": "1.3.0rc13"}, None),
        ({"image": "nvcr.io/nvidia/tensorrt-llm/release:nightly"}, None),
        ({"image": "x:nightly", "facts": {"image_id": "sha256:1", "version": "1.3.0rc5"}}, "NCCL"),
        ({"version": "1.3.0rc5", "members": ["spark1"], "arguments": {}}, None),
        ({"version": "1.3.0rc5", "options": {"allreduce_strategy": "AUTO"}}, "AUTO"),
    ],
)
def test_ranks_add_up_by_nccl_where_the_image_is_older_than_the_mend(
    said: dict[str, Any], strategy: str | None
) -> None:
    assert planned(**said)["options"].get("allreduce_strategy") == strategy


def test_a_reduction_that_somebody_chose_is_warned_of() -> None:
    (doubt,) = planned(version="1.3.0rc5", options={"allreduce_strategy": "AUTO"})["doubts"]
    assert "NCCL_SYMMETRIC" in doubt
    assert "pull/12902" in doubt


@pytest.mark.parametrize(
    ("version", "there"), [("1.1.0", False), ("1.2.0rc1", True), ("1.3.0rc5", True), ("1.4.0rc0", True), ("any", True)]
)
def test_prometheus_has_a_place_of_its_own_where_the_image_knows_one(version: str, there: bool) -> None:
    assert ("return_perf_metrics" in planned(version=version)["options"]) == there


def test_the_engine_reports_its_use_to_nobody() -> None:
    wanted = {"TRTLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "TLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}
    assert wanted.items() <= planned(environment={"TLLM_ALLOW_LONG_MAX_MODEL_LEN": 1})["environment"].items()


def test_a_secret_in_the_environment_is_refused() -> None:
    with pytest.raises(ServeError, match="HF_TOKEN looks like a secret") as refused:
        planned(environment={"HF_TOKEN": "abc123"})
    assert "abc123" not in str(refused.value)
    assert "tables" not in str(refused.value)


def test_a_key_that_is_of_no_use_any_more_is_a_warning() -> None:
    options = {"perf_metrics_max_requests": 100, "torch_compile_config": {"capture_num_tokens": [1]}}
    doubts = planned(version="1.4.0rc0", options=options)["doubts"]
    assert (
        "perf_metrics_max_requests is of no use with TensorRT-LLM 1.4.0rc0: nothing is kept for /perf_metrics"
        in doubts[0]
    )
    assert "say prefill_capture_num_tokens" in doubts[1]
    assert planned(version="1.3.0rc13", options=options)["doubts"] == []


class Told:
    """A schema that knows two keys, and says what it was asked."""

    def takes(self, key: str) -> bool:
        return key in ("a", "return_perf_metrics")

    def without_nulls(self, options: Any) -> dict[str, Any]:
        return {name: value for name, value in options.items() if value is not None}

    def findings(self, options: Any) -> list[settings.Finding]:
        if options.get("a") == "raise":
            raise ValueError("it cannot be read")
        return [settings.Finding("a is wrong", refused=options.get("a") == 1)] if "a" in options else []


HELP = {
    "tp_size": {"kind": "int", "choices": []},
    "max_batch_size": {"kind": "int", "choices": []},
    "enable_ugpu": {"kind": "flag", "choices": []},
    "tool_parser": {"kind": "choice", "choices": ["newest"]},
}
FACTS = {"image_id": "sha256:1", "version": "1.4.0rc0", "flags": HELP}


def test_the_image_itself_judges_where_it_tells() -> None:
    told = {"facts": FACTS, "schema": Told(), "image": f"{NVIDIA}:1.3.0rc5"}
    plan = planned(
        **told, options={"a": 2, "b": None}, arguments={"tp_size": 2, "enable_ugpu": True, "tool_parser": "newest"}
    )
    assert (plan["judged"], plan["doubts"], plan["version"]) == (
        {"options": "schema", "arguments": "help"},
        ["a is wrong"],
        "1.4.0rc0",
    )
    assert "b" not in plan["options"]
    with pytest.raises(ServeError) as refused:
        planned(**told, options={"a": 1})
    assert str(refused.value) == "a is wrong"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            {"tensor_parallel_size": 2},
            "tensor_parallel_size is no flag of the image's trtllm-serve, as its --help says; did you mean tp_size?",
        ),
        ({"tp_size": 2, "enable_ugpus": True}, "did you mean enable_ugpu?"),
        ({"tp_size": 2, "tool_parser": "qwen3"}, "tool_parser must be one of newest, and is 'qwen3'"),
        ({"tp_size": 2, "max_batch_size": "many"}, "max_batch_size must be a whole number"),
        ({"tp_size": 2, "port": 1}, "port is set by the role: set engine_serve_api_port instead"),
        ({"tp_size": 2, "set": "a=1"}, "set is set by the role: set trtllm_serve_options instead"),
    ],
)
def test_a_flag_is_judged_by_the_help_of_the_image(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ServeError) as refused:
        planned(facts=FACTS, schema=Told(), options={}, arguments=arguments)
    assert says in str(refused.value)
    assert "tables" not in str(refused.value)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({}, "(judged by tables alone: the image is not on the leader yet)"),
        ({**FACTS, "version": "1.3.0rc13", "flags": None}, "(judged by tables alone: the image does not tell)"),
    ],
)
def test_a_sentence_says_where_only_tables_judged(facts: dict[str, Any], why: str) -> None:
    version = {"version": "1.3.0rc13"}
    with pytest.raises(ServeError) as refused:
        planned(**version, facts=facts, options={"print_iter_logs": True}, arguments={"tp_sise": 2})
    assert str(refused.value).endswith(why)
    assert str(refused.value).count("judged by tables") == 1
    assert planned(**version, facts=facts)["judged"] == {"options": "tables", "arguments": "tables"}
    (doubt,) = planned(**version, facts=facts, options=LATE)["doubts"]
    assert doubt.endswith(why)


def test_a_schema_that_cannot_be_read_leaves_the_tables() -> None:
    plan = planned(facts={**FACTS, "version": ""}, schema=Told(), options={"a": "raise"}, version="any")
    assert plan["judged"]["options"] == "tables"
    assert "a is no key that is known" in plan["doubts"][0]


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
            r"did you mean dtype below kv_cache_config\?",
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
            ServeError, match=rf"disable_mm_encoder is a key of TensorRT-LLM 1.3 and later, .*is {version} \("
        ):
            planned(version=version, options={"disable_mm_encoder": True})
        (doubt,) = planned(version=version, arguments={"tensor_parallel_size": 2})["doubts"]
        assert re.search("tensor_parallel_size is a flag of .*say tp_size", doubt)
    for version in ("1.1.0", "1.2.0rc1"):
        with pytest.raises(ServeError, match=r"tool_parser is a flag of TensorRT-LLM 1.3.0rc and 1.3 and later"):
            planned(version=version, arguments={"tp_size": 2, "tool_parser": "qwen3"})


NEW = {  # of TensorRT-LLM 1.4.0rc0
    **FLASH,
    "kv_cache_config": {"disk_cache_path": "/var/tmp"},
    "enable_tokenization_cache": True,
    "mla_skip_correction_threshold": 0.5,
    "moe_config": {"backend": "CUTEDSL_FC12"},
}


@pytest.mark.parametrize("version", ["1.3.0rc26", "1.3.0rc27.dev202609170000", "1.3.0"])
def test_what_came_with_1_4_is_doubted_of_the_end_of_1_3(version: str) -> None:
    doubts = planned(version=version, options=NEW, arguments={"tp_size": 2, "grpc-protocol": "smg"})["doubts"]
    assert len([one for one in doubts if "of TensorRT-LLM 1.4, and no table tells" in one]) == 5
    with pytest.raises(ServeError, match=r"disk_cache_path is a key of TensorRT-LLM 1.4, and the image is 1.3.0rc25"):
        planned(version="1.3.0rc25", options=NEW)


@pytest.mark.parametrize("version", ["1.4.0rc0", "2.0.0"])
def test_what_came_with_1_4_is_known_of_1_4(version: str) -> None:
    assert planned(version=version, options=NEW, arguments={"tp_size": 2, "tool_parser": "inkling"})["doubts"] == []


@pytest.mark.parametrize("version", ["1.3.0rc26", "1.3.0rc27.dev202609170000", "1.3.0", "1.4.0rc0", "2.0.0"])
def test_what_no_table_has_is_doubted_of_a_version_that_is_newer_than_all_unless_it_looks_misspelt(
    version: str,
) -> None:
    new = {"kv_cache_config": {"tape_library": "/dev/st0"}, "dream_mode": True, "moe_config": {"backend": "NEWEST"}}
    assert len(planned(version=version, options=new, arguments={"tp_size": 2, "oracle": "x"})["doubts"]) == 4
    for options in ({"print_iter_logs": True}, {"kv_cache_config": {"free_gpu_memory_fractoin": 0.5}}):
        with pytest.raises(ServeError, match=r"did you mean .*set trtllm_serve_version: any"):
            planned(version=version, options=options)
    with pytest.raises(ServeError, match=r"tp_sise is no flag .*did you mean tp_size"):
        planned(version=version, arguments={"tp_sise": 2})


@pytest.mark.parametrize("version", ["1.3.0rc20", "1.3.0rc22.post1", "1.3.0rc25"])
def test_the_later_candidates_of_1_3_have_much_of_what_the_next_table_has(version: str) -> None:
    options = {"prefill_cuda_graph_backend": "piecewise", "gms_config": {"mode": "ro"}, "num_serve_frontends": 2}
    arguments = {"tp_size": 2, "served_model_name": "x", "allow_request_chat_template": True, "telemetry": False}
    assert planned(version=version, options=options, arguments=arguments)["doubts"] == []
    assert len(planned(version="1.3.0rc19", options=options, arguments=arguments)["doubts"]) == 6


@pytest.mark.parametrize("told", [{"version": "any"}, {"image": "nvcr.io/nvidia/tensorrt-llm/release:nightly"}])
def test_what_no_table_has_is_doubted_where_the_version_is_any(told: dict[str, str]) -> None:
    dream = {"speculative_config": {"decoding_type": "MTP", "dream_mode": "full"}}
    (doubt,) = planned(**told, options=dream)["doubts"]
    assert re.search("dream_mode is no key that is known of any TensorRT-LLM .*take it out if", doubt)
    (doubt,) = planned(**told, options={"moe_config": {"backend": "NEWEST"}})["doubts"]
    assert re.search("moe_config.backend must be one of .*, and is 'NEWEST'", doubt)
    plan = planned(**told, arguments={"tp_size": 2, "grpc-protocol": "smg", "enable_ugpu": True, "off": False})
    assert len(plan["doubts"]) == 2
    assert plan["serve"][2:7] == ["--enable_ugpu", "--grpc-protocol", "smg", "--tp_size", "2"]
    with pytest.raises(ServeError, match=r"dream_mode is no key .*set trtllm_serve_version: any"):
        planned(version="1.3.0rc25", options=dream)
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


def alone(**said: Any) -> dict[str, Any]:
    """What is planned for one Spark, without settings but those that are said."""
    return planned(**{"members": ["spark1"], "options": {}, "arguments": {}, **said})


def refusal(**said: Any) -> str:
    with pytest.raises(ServeError) as caught:
        alone(**said)
    return str(caught.value)


@pytest.mark.parametrize("version", ["1.2.0rc2", "1.2.0rc6.post3", "1.2.1"])
def test_a_flag_that_an_image_may_have_under_another_name_is_doubted(version: str) -> None:
    (doubt,) = alone(image=f"{NVIDIA}:{version}", arguments={"tensor_parallel_size": 1})["doubts"]
    assert re.search("no table tells .*take it out if the engine refuses it when it starts, and say tp_size", doubt)


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ({"kv_cache_config": None}, {}),
        ({"kv_cache_config": {"dtype": None, "free_gpu_memory_fraction": None}}, {}),
        ({"kv_cache_config": {"block_reuse_config": None}}, {}),
        ({"enable_iter_perf_stats": None, "print_iter_log": None, "tensor_parallel_size": None}, {}),
        ({"moe_config": None, "scheduler_config": None, "lora_config": None}, {}),
        ({"nvfp4_gemm_config": None, "attention_dp_config": None}, {}),
        (
            {"cuda_graph_config": None, "speculative_config": None},
            {"cuda_graph_config": None, "speculative_config": None},
        ),
        ({"max_seq_len": None, "max_batch_size": None}, {"max_seq_len": None, "max_batch_size": None}),
        ({"allreduce_strategy": None}, {"allreduce_strategy": None}),
        ({"encoder_cuda_graph_config": None}, {"encoder_cuda_graph_config": None}),  # which no table has whole
    ],
)
def test_null_leaves_out_what_cannot_be_null_and_what_the_role_has_a_default_for(
    options: dict[str, Any], written: dict[str, Any]
) -> None:
    plan = alone(version="1.3.0", options=options)
    assert plan["options"] == {**trtllm.DEFAULTS, **written}
    assert plan["doubts"] == []
    assert plan["settings"]["fit_kv_cache"]
    assert plan["world"] == 1


@pytest.mark.parametrize("version", ["1.2.1", "1.3.0rc13", "1.4.0rc0", "any"])
def test_a_name_with_dots_is_no_key_and_the_mend_is_said_as_yaml_has_it(version: str) -> None:
    said = refusal(version=version, options={"kv_cache_config.free_gpu_memory_fraction": 0.5})
    assert "is one name with dots in it" in said
    assert "say free_gpu_memory_fraction below kv_cache_config" in said
    said = refusal(version=version, options={"kv_cache_config": {"block_reuse_config.policy": "all_reusable"}})
    assert "say policy below block_reuse_config below kv_cache_config" in said
    alone(version="1.3.0", options={"env_overrides": {"a.b": "c"}, "lora_config": {"a.b": 1}})


def test_every_mend_says_a_nested_key_as_yaml_has_it() -> None:
    said = refusal(version="1.3.0rc13", options={"kv_cache_config": {"free_gpu_memory_fractoin": 0.5}})
    assert "did you mean free_gpu_memory_fraction below kv_cache_config?" in said
    said = refusal(version="1.3.0rc13", options={"free_gpu_memory_fraction": 0.5})
    assert "did you mean free_gpu_memory_fraction below kv_cache_config?" in said
    said = refusal(version="1.3.0rc13", arguments={"kv_cache_free_gpu_memory_fraction": 0.5})
    assert "say it as free_gpu_memory_fraction below kv_cache_config there alone" in said


@pytest.mark.parametrize(
    ("arguments", "there", "not_there"),
    [
        ({"served_model_name": "my model"}, "no key of trtllm_serve_options says the same", "say it in"),
        ({"chat_template": "/etc/a b.jinja"}, "no key of trtllm_serve_options says the same", "say it in"),
        ({"media_io_kwargs": '{"video": {}}'}, "no key of trtllm_serve_options says the same", "say it in"),
        ({"kv_cache_dtype": "a b"}, "dtype below kv_cache_config", "says the same"),
        ({"tokenizer": "/models/a b"}, "say it as tokenizer in trtllm_serve_options", "says the same"),
    ],
)
def test_the_yaml_is_named_as_the_way_out_only_where_it_is_one(
    arguments: dict[str, Any], there: str, not_there: str
) -> None:
    said = refusal(version="1.3.0", arguments=arguments)
    assert there in said
    assert not_there not in said


def test_a_flag_among_the_keys_is_sent_to_the_flags() -> None:
    said = refusal(version="1.3.0rc13", options={"served_model_name": "x"})
    assert re.search("served_model_name is a flag of .*, and no key .*: say it in trtllm_serve_arguments", said)
    for version in ("1.4.0rc0", "any"):  # which may have made it a key
        (doubt,) = alone(version=version, options={"served_model_name": "x"})["doubts"]
        assert "say it in trtllm_serve_arguments if the engine refuses it" in doubt


def test_the_older_words_for_speculation_are_those_of_the_older_images() -> None:
    options = {"speculative_config": {"decoding_type": "DraftTarget"}}
    for version in ("1.2.0rc1", "1.2.1"):
        assert alone(version=version, options=options)["doubts"] == []
    assert "must be one of" in refusal(version="1.3.0rc13", options=options)


@pytest.mark.parametrize(
    "arguments",
    [
        {"tensor_parallel_size": 2, "tp_size": 1},
        {"tp_size": "1", "tensor_parallel_size": 2},
        {"ep_size": 1, "moe_expert_parallel_size": 2},
        {"telemetry": True, "no-telemetry": True},
        {"revision": "a", "hf_revision": "b"},
    ],
)
def test_two_spellings_of_one_flag_that_disagree_are_refused(arguments: dict[str, Any]) -> None:
    for version in ("1.3.0", "any"):
        said = refusal(version=version, arguments=arguments)
        assert "are two spellings of one flag" in said
        assert all(name in said for name in arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"tensor_parallel_size": 1, "tp_size": "1"},
        {"tensor_parallel_size": None, "tp_size": 1},
        {"kv_cache_free_gpu_memory_fraction": "0.80", "free_gpu_memory_fraction": 0.8},
        {"telemetry": False, "no-telemetry": True},
    ],
)
def test_two_spellings_of_one_flag_that_agree_will_do(arguments: dict[str, Any]) -> None:
    assert alone(version="1.3.0", arguments=arguments)["world"] == 1


@pytest.mark.parametrize("version", ["1.2.0rc6.post3", "1.3.0", "1.2.1"])
def test_a_refusal_says_the_version_of_the_image(version: str) -> None:
    key = "kv_cache_config" if version == "1.3.0" else "disable_mm_encoder"
    options = {key: {"onboard_blocks": True} if version == "1.3.0" else True}
    assert f"and the image is {version} (" in refusal(image=f"{NVIDIA}:{version}", options=options)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("nvcr.io/nvidia/tensorrt-llm/release:1.2.0rc6.post3", "1.2.0rc6.post3"),
        ("nvcr.io/nvidia/tensorrt-llm/devel:1.3.0rc13@sha256:12", "1.3.0rc13"),
        ("registry.home:5000/mirror/nvidia/tensorrt-llm/release:1.3.0rc13-arm64", "1.3.0rc13-arm64"),
        ("tensorrt_llm/release:1.3.0rc5", "1.3.0rc5"),  # as its own Makefile names what it builds
        ("ghcr.io/me/spark-trtllm:1.0.0", ""),
        ("ghcr.io/me/spark-trtllm:0.3.1", ""),
        ("localhost:5000/release:1.2.0", ""),
        ("nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8.3", ""),
        ("nvcr.io/nvidia/tritonserver:25.10-trtllm-python-py3", ""),
        ("ghcr.io/me/spark:trtllm-1.2.0", "1.2.0"),
        ("ghcr.io/me/spark:tensorrt-llm-v1.2.0-gb10", "v1.2.0-gb10"),
        ("ghcr.io/me/spark:release-1.2.0rc6", "1.2.0rc6"),
        ("ghcr.io/me/spark:release-1.0.0", ""),
        ("registry.home:5000/tensorrt-llm/release", ""),
        ("sha256:0123456789abcdef", ""),
        ("", ""),
    ],
)
def test_a_tag_is_believed_where_it_is_one_of_tensorrt_llm(image: str, version: str) -> None:
    plan = alone(image=image)
    assert plan["version"] == version
    assert plan["settings"]["metrics_follow"] == ("1.2.0" in version)


RELAXED = {"use_relaxed_acceptance_for_thinking": True, "relaxed_topk": 10, "relaxed_delta": 0.6}
#: what llmapi/llm_args.py of 1.2 and of 1.3's candidates has, and the manifest of main
SOURCES = [
    ("ABC", {"speculative_config": {"decoding_type": "MTP", **RELAXED}}),
    ("ABC", {"speculative_config": {"decoding_type": "MTP", "use_mtp_vanilla": False, "mtp_eagle_one_model": True}}),
    ("ABC", {"speculative_config": {"decoding_type": "Eagle", "num_eagle_layers": 2, "max_non_leaves_per_layer": 4}}),
    ("ABC", {"speculative_config": {"decoding_type": "Eagle", "eagle_choices": "[[0], [1], [0, 0]]"}}),
    (
        "ABC",
        {
            "speculative_config": {
                "decoding_type": "SaveState",
                "output_directory": "/run/states",
                "write_interval": 20,
                "file_prefix": "data",
            }
        },
    ),
    ("ABC", {"cache_transceiver_config": {"kv_transfer_sender_future_timeout_ms": 1000}}),
    ("BC", {"layer_wise_benchmarks_config": {"calibration_layer_indices": [1, 2]}}),
    ("ABC", {"scheduler_config": {"dynamic_batch_config": {"enable_batch_size_tuning": True}}}),
    ("ABC", {"scheduler_config": {"dynamic_batch_config": {"enable_max_num_tokens_tuning": False}}}),
    ("ABC", {"scheduler_config": {"dynamic_batch_config": {"dynamic_batch_moving_average_window": 128}}}),
    ("AB", {"cp_config": {"cp_type": "star", "cp_anchor_size": 10, "block_size": 1024}}),
    ("ABC", {"cp_config": {"cp_type": "helix"}}),
    ("ABC", {"decoding_config": {}}),
    ("A", {"fail_fast_on_attention_window_too_large": True}),
    ("ABC", {"moe_config": {"backend": "WIDEEP"}}),
    ("ABC", {"attn_backend": "FLASHINFER_STAR_ATTENTION"}),
]


@pytest.mark.parametrize(("eras", "options"), SOURCES)
def test_what_the_sources_of_the_tables_have_is_known(eras: str, options: dict[str, Any]) -> None:
    for era, version in {"A": "1.2.0rc1", "B": "1.3.0rc13", "C": "1.3.0"}.items():
        if era in eras:
            assert alone(version=version, options=options)["options"] == {**trtllm.DEFAULTS, **options}
        else:
            assert "key of TensorRT-LLM" in refusal(version=version, options=options)


def test_telemetry_is_switched_off_where_somebody_says_so() -> None:
    for said in ({"telemetry": False}, {"no-telemetry": True}):
        assert alone(version="1.3.0", arguments=said)["serve"][2] == "--no-telemetry"
    assert "--no-telemetry" not in alone(version="1.3.0", arguments={"telemetry": True})["serve"]
    for version in ("1.1.0", "1.2.0rc6.post3"):
        assert "telemetry is a flag of" in refusal(version=version, arguments={"telemetry": False})


@pytest.mark.parametrize("version", ["1.2.1", "1.3.0rc13", "1.3.0", "any"])
@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"options": {"kv_cache_config": {"free_gpu_memory_fraction": 90}}}, "must be from 0 to 1, and is 90"),
        ({"options": {"kv_cache_config": {"free_gpu_memory_fraction": -0.1}}}, "must be from 0 to 1"),
        ({"options": {"kv_cache_config": {"free_gpu_memory_fraction": float("nan")}}}, "must be from 0 to 1"),
        ({"options": {"kv_cache_config": {"free_gpu_memory_fraction": "1.5"}}}, "must be from 0 to 1"),
        ({"options": {"max_num_tokens": 10**400}}, "max_num_tokens must be a number"),
        ({"options": {"stream_interval": 0}}, "stream_interval must be at least 1, and is 0"),
        ({"options": {"model": "/models/other"}}, "model is set by the role: set spark_model instead"),
        ({"options": {"orchestrator_type": "ray"}}, "orchestrator_type is 'ray', and .* by MPI"),
        ({"options": {"backend": "_autodeploy", "model": "/models/other"}}, "model is set by the role"),
    ],
)
def test_what_the_engine_or_the_role_cannot_do_is_refused(version: str, said: dict[str, Any], says: str) -> None:
    assert re.search(says, refusal(version=version, **said))


def test_what_is_no_number_is_not_said_to_disagree_with_itself() -> None:
    options = {"kv_cache_config": {"free_gpu_memory_fraction": float("nan")}}
    said = refusal(version="1.3.0", options=options, arguments={"kv_cache_free_gpu_memory_fraction": float("nan")})
    assert "must be from 0 to 1, and is nan" in said
    assert "two spellings" not in said


def test_a_fraction_among_the_flags_has_the_same_limits() -> None:
    arguments = {"kv_cache_free_gpu_memory_fraction": 90}
    options = {"kv_cache_config": {"free_gpu_memory_fraction": 90}}
    assert "kv_cache_free_gpu_memory_fraction must be from 0 to 1" in refusal(
        version="1.3.0", arguments=arguments, options=options
    )


@pytest.mark.parametrize("version", ["1.4.0rc0", "any"])
def test_a_choice_that_no_table_has_is_doubted_with_what_to_do(version: str) -> None:
    (doubt,) = alone(version=version, options={"moe_config": {"backend": "NEWEST"}})["doubts"]
    assert re.search("is 'NEWEST': no table tells .*, take it out if the engine refuses it when it starts", doubt)


@pytest.mark.parametrize(
    ("config", "sees"),
    [
        ({}, False),
        ({"architectures": ["Qwen2_5_VLForConditionalGeneration"], "vision_config": {"depth": 32}}, True),
        ({"architectures": ["Gemma3ForCausalLM"], "vision_config": None}, False),
        ({"vision_config": {}}, False),
        ({"architectures": ["Phi4MMForCausalLM"], "embd_layer": {"image_embd_layer": {"crop_size": 448}}}, True),
        ({"embd_layer": "none"}, False),
        ({"mm_vision_tower": "openai/clip-vit-large-patch14"}, True),
        ({"thinker_config": {"vision_config": {"depth": 32}}}, True),
        ({"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss"}, False),
    ],
)
def test_which_models_are_asked_about_a_picture(config: dict[str, Any], sees: bool) -> None:
    """One whose encoder is left out is not, and what a person says counts."""
    assert planned(config=config)["sees"] is sees
    blind = {"disable_mm_encoder": True}
    assert planned(config=config, options=blind, version="any")["sees"] is False
    assert planned(config=config, vision="always")["sees"] is True
    assert planned(config=config, vision="never")["sees"] is False
    assert "sees" not in str(planned(config=config)["settings"])


def test_an_image_of_another_engine_is_refused_with_the_mend() -> None:
    says = "is an image of vLLM, and TensorRT-LLM is to serve: set trtllm_serve_base_image or spark_image"
    with pytest.raises(ServeError, match=says):
        planned(image="vllm/vllm-openai:v0.28.0")
