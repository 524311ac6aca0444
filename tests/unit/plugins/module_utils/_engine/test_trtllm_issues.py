# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known issues of a release are warned of where version, model, options and ranks meet them, and nowhere else."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trtllm_issues as issues
from hypothesis import given
from hypothesis import strategies as st

GPT_OSS = {"model_type": "gpt_oss", "num_local_experts": 128, "quantization_config": {"quant_method": "mxfp4"}}
QWEN3 = {"model_type": "qwen3_moe", "num_experts": 128}
FP8 = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
DEEPSEEK = {"model_type": "deepseek_v3", "kv_lora_rank": 512, "n_routed_experts": 256}
DENSE = {"model_type": "llama", "num_attention_heads": 64}
MTP = {"speculative_config": {"decoding_type": "MTP"}}


def warned(version: str, **said: Any) -> list[str]:
    asked = {"config": DENSE, "name": "models--a--b", "options": {}, "arguments": {}, "ranks": 2, **said}
    return issues.warnings(version, issues.Serving(**asked))


@pytest.mark.parametrize(
    ("version", "said", "word"),
    [
        ("1.3.0rc5", {"options": {"allreduce_strategy": "AUTO"}}, "NCCL_SYMMETRIC"),
        ("1.3.0rc11.post1", {"options": {"allreduce_strategy": None}}, "NCCL_SYMMETRIC"),
        ("1.2.1", {"options": {"allreduce_strategy": "ONESHOT"}}, "NCCL_SYMMETRIC"),
        ("1.3.0rc20", {"config": QWEN3, "ranks": 1}, "enable_autotuner: false"),
        ("1.3.0rc21", {"options": {"backend": "_autodeploy"}}, "AutoDeploy is deprecated"),
        ("1.4.0rc0", {"arguments": {"backend": "_autodeploy"}}, "AutoDeploy is deprecated"),
        ("1.3.0rc24", {"config": GPT_OSS}, "lose accuracy"),
        ("1.3.0rc25", {"config": QWEN3, "name": "models--nvidia--Qwen3-235B-A22B-FP4"}, "lose accuracy"),
        ("1.3.0rc24", {"config": {"text_config": {**QWEN3, **FP8}}}, "lose accuracy"),
        ("1.3.0rc24", {"config": DEEPSEEK, "options": MTP, "ranks": 1}, r"MLA\) with MTP"),
        ("1.3.0rc24", {"config": {**QWEN3, **FP8}, "ranks": 1}, "block scales"),
        ("1.3.0rc26", {"options": {"kv_cache_config": {"use_kv_cache_manager_v2": True}}}, "KV cache manager"),
        ("1.3.0rc27.dev202609170000", {"options": {"attn_backend": "FLASHINFER"}}, "leaks memory"),
        ("1.3.0rc26", {"config": QWEN3, "options": {"lora_config": {"max_loras": 2}}}, "LoRA on the experts"),
    ],
)
def test_an_issue_is_told_with_its_source_and_a_way_out(version: str, said: dict[str, Any], word: str) -> None:
    found = [one for one in warned(version, **said) if re.search(word, one)]
    assert len(found) == 1
    assert f"TensorRT-LLM {version} has a known issue" in found[0]
    assert "To avoid it, " in found[0]
    assert "(https://github.com/NVIDIA/TensorRT-LLM/" in found[0]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("1.3.0rc5", {"options": {"allreduce_strategy": "NCCL"}}),
        ("1.3.0rc5", {}),  # the role sets it
        ("1.3.0rc5", {"options": {"allreduce_strategy": "AUTO"}, "ranks": 1}),
        ("1.3.0rc12", {"options": {"allreduce_strategy": "AUTO"}}),
        ("1.3.0rc20", {"config": QWEN3, "options": {"enable_autotuner": False}}),
        ("1.3.0rc21", {"config": QWEN3}),
        ("1.3.0rc24", {"config": GPT_OSS, "ranks": 1}),
        ("1.3.0rc24", {"config": DENSE}),
        ("1.3.0rc24", {"config": QWEN3, "name": "models--Qwen--Qwen3-30B-A3B"}),  # in 16 bits
        ("1.3.0rc24", {"config": DEEPSEEK, "options": {"speculative_config": None}, "ranks": 1}),
        ("1.3.0rc23", {"config": GPT_OSS}),
        ("1.3.0rc26", {"config": GPT_OSS}),
        ("1.4.0rc0", {"options": {"attn_backend": "FLASHINFER"}}),
        ("any", {"config": GPT_OSS}),
        ("", {"config": GPT_OSS}),
    ],
)
def test_nothing_is_told_of_what_this_serving_does_not_meet(version: str, said: dict[str, Any]) -> None:
    assert warned(version, **said) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda one: st.lists(one, max_size=2) | st.dictionaries(st.text(max_size=4), one, max_size=2),
    max_leaves=4,
)
NAMES = ["model_type", "text_config", "num_experts", "kv_lora_rank", "quantization_config"]
OPTIONS = ["speculative_config", "kv_cache_config", "lora_config", "attn_backend", "backend", "allreduce_strategy"]


@given(
    st.sampled_from(["1.3.0rc5", "1.3.0rc20", "1.3.0rc24", "1.3.0rc26", "1.4.0rc0"]),
    st.dictionaries(st.sampled_from(NAMES), JSON),
    st.dictionaries(st.sampled_from(OPTIONS), JSON),
)
def test_no_config_breaks_the_search(version: str, config: dict[str, Any], options: dict[str, Any]) -> None:
    assert all(isinstance(one, str) for one in warned(version, config=config, options=options))


def test_every_issue_has_a_range() -> None:
    assert [one.what for one in issues.ISSUES if not one.since < one.before] == []
