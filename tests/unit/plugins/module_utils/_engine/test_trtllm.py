# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What TensorRT-LLM is told, and what is refused before it starts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trtllm
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError

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


@pytest.mark.parametrize(("version", "follows"), [("1.2.1", True), ("1.3.0rc5", False), ("any", False)])
def test_a_metrics_that_follows_its_tokens_is_that_of_an_old_version(version: str, follows: bool) -> None:
    settings = planned(version=version)["settings"]
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
        ({"options": {"print_iter_logs": True}}, r"print_iter_logs is no key .* did you mean print_iter_log\?"),
        ({"options": {"kv_cache_config": {"dtypes": "auto"}}}, r"did you mean kv_cache_config.dtype\?"),
        ({"arguments": {"tp_size": 4}}, "tp_size x pp_size x cp_size is 4, but there are 2 Sparks"),
        ({"snapshot": "/elsewhere/abc"}, "is not below"),
        ({"api_host": "spark1"}, "cannot listen on 'spark1'"),
        ({"api_host": "::1"}, "give an IPv4 address"),
        ({"config": {"num_attention_heads": 25}}, "tp_size 2 does not divide the 25 attention heads"),
    ],
)
def test_what_would_fail_later_is_refused_now(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ServeError, match=says):
        planned(**changes)


def test_a_model_that_can_be_split_is_planned() -> None:
    assert planned(config={"num_attention_heads": 64})["world"] == 2
