# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What TensorRT-LLM's settings ask of the memory, whichever way they are said."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.fit import Draft, Setting
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.settings import (
    draft_of,
    graphs_of,
    setting_of,
)
from hypothesis import given
from hypothesis import strategies as st

ENGINES = Setting(max_batch_size=2048, graphs=34)  # what TensorRT-LLM takes where nobody says anything


@pytest.mark.parametrize(
    ("arguments", "options", "wanted"),
    [
        ({}, {}, {}),
        ({"tp_size": 2, "pp_size": "3"}, {}, {"tp": 2, "pp": 3}),
        ({"tensor_parallel_size": 2}, {"tensor_parallel_size": 4}, {"tp": 4}),
        ({"max_batch_size": 4}, {}, {"max_batch_size": 4, "graphs": 4}),
        ({"max_batch_size": 4}, {"max_batch_size": 2}, {"max_batch_size": 2, "graphs": 2}),
        ({"max_batch_size": None}, {}, {}),
        ({"max_seq_len": 32768, "max_num_tokens": 4096}, {}, {"max_seq_len": 32768, "max_num_tokens": 4096}),
        ({"max_seq_len": 32768}, {"max_seq_len": None}, {"max_seq_len": 32768}),
        ({"kv_cache_dtype": "fp8"}, {}, {"kv_dtype": "fp8"}),
        ({}, {"kv_cache_config": {"dtype": "nvfp4"}}, {"kv_dtype": "nvfp4"}),
        ({}, {"kv_cache_config": {"mamba_ssm_cache_dtype": "float16"}}, {"state_dtype": "float16"}),
        ({}, {"kv_cache_config": {"free_gpu_memory_fraction": "0.5"}}, {"fraction": 0.5}),
        ({}, {"kv_cache_config": {"free_gpu_memory_fraction": "much"}}, {}),
        ({}, {"kv_cache_config": {"max_tokens": 9, "max_gpu_total_bytes": 8}}, {"max_tokens": 9, "max_bytes": 8}),
        ({}, {"kv_cache_config": {"max_attention_window": [128, 4096]}}, {"windows": True}),
        ({}, {"kv_cache_config": None}, {}),
        ({}, {"backend": "_autodeploy", "world_size": 2}, {"tp": 2}),
        ({"backend": "_autodeploy"}, {}, {}),
        ({"enable_attention_dp": True}, {}, {"attention_dp": True}),
        ({"enable_attention_dp": True}, {"enable_attention_dp": False}, {}),
        ({}, {"cuda_graph_config": None}, {"graphs": 0}),
    ],
)
def test_what_is_said_and_what_is_not(
    arguments: dict[str, Any], options: dict[str, Any], wanted: dict[str, Any]
) -> None:
    assert setting_of(arguments, options) == Setting(**{**vars(ENGINES), **wanted})


def test_what_a_start_is_asked_for_is_passed_on() -> None:
    assert setting_of({}, {}, 5).min_kv_tokens == 5


@pytest.mark.parametrize(
    ("config", "batch", "graphs"),
    [
        ({"enable_padding": True}, 4, 3),
        ({"enable_padding": True}, 64, 11),
        ({"enable_padding": True}, 128, 19),
        ({"enable_padding": True, "max_batch_size": 1}, 64, 1),
        ({"enable_padding": True, "max_batch_size": 256}, 512, 20),
        ({}, 4, 4),
        ({}, 128, 34),
        ({"batch_sizes": [1, 2, 8]}, 4, 2),
        ({"batch_sizes": []}, 4, 0),
        ("nonsense", 1, 1),
    ],
)
def test_one_graph_is_captured_for_each_batch_size(config: Any, batch: int, graphs: int) -> None:
    assert graphs_of({"cuda_graph_config": config}, batch) == graphs


@given(st.booleans(), st.integers(1, 2048), st.integers(1, 2048), st.integers(0, 2048))
def test_a_larger_batch_never_has_fewer_graphs(padded: bool, most: int, batch: int, more: int) -> None:
    options = {"cuda_graph_config": {"enable_padding": padded, "max_batch_size": most}}
    assert graphs_of(options, batch) <= graphs_of(options, batch + more)


@pytest.mark.parametrize(
    ("options", "draft", "wanted"),
    [
        ({}, {}, None),
        ({"speculative_config": None}, {}, None),
        ({"speculative_config": {"decoding_type": "MTP"}}, {}, Draft(kind="MTP")),
        ({"speculative_config": {"decoding_type": "NGram"}}, {}, Draft(kind="none")),
        ({"speculative_config": {"decoding_type": "Eagle3"}}, {}, Draft(kind="Eagle3")),
        (
            {"speculative_config": {"decoding_type": "Draft_Target"}},
            {"config": {"a": 1}, "bytes": 7},
            Draft({"a": 1}, 7, "Draft_Target"),
        ),
        ({}, {"kind": "Eagle3", "bytes": "7"}, Draft(total_bytes=7, kind="Eagle3")),
    ],
)
def test_a_draft_is_known_by_what_speculates(options: dict[str, Any], draft: dict[str, Any], wanted: Any) -> None:
    assert draft_of(options, draft) == wanted
