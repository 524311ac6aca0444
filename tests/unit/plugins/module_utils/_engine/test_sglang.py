# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SGLang is told, and what is refused before it starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.every_node import Request
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.sglang import ENGINE
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.sglang_cli import FLAGS, VERSION
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.sglang_options import PARSER

SUPERVISOR = Path(__file__).parents[5] / "roles" / "engine_serve" / "files" / "image" / "supervisor"
REPO = "/home/nvidia/.cache/huggingface/hub/models--lab--tiny"


def planned(**changes: Any) -> dict[str, Any]:
    wanted = {
        "members": ["spark1", "spark2"],
        "snapshot": f"{REPO}/snapshots/abc",
        "repo_dir": REPO,
        "repo": "lab/tiny",
        "model_bytes": 134 * 10**9,
        "arguments": {"tp_size": 2, "max_running_requests": 32, "chunked_prefill_size": 4096},
    }
    return ENGINE.plan(Request(**{**wanted, **changes}))


def test_two_sparks() -> None:
    engine = planned()
    assert engine["serve"] == [
        *("python3", "-m", "sglang.launch_server", "--model-path", "/models/snapshots/abc"),
        *("--chunked-prefill-size", "4096", "--dist-timeout", "635", "--max-running-requests", "32"),
        *("--served-model-name", "lab/tiny", "--tp-size", "2", "--enable-metrics"),
    ]
    assert (engine["name"], engine["title"], engine["world"]) == ("sglang", "SGLang", 2)
    assert engine["settings"] == {"name": "sglang", "fit_kv_cache": True, "min_kv_tokens": 0, "overhead_mib": 6720}
    assert engine["doubts"] == []


def test_one_spark_waits_for_nobody() -> None:
    engine = planned(members=["spark1"], arguments={})
    assert engine["serve"][5:] == ["--served-model-name", "lab/tiny", "--enable-metrics"]
    assert engine["settings"]["overhead_mib"] == 512 + 8192 * 1.5 + 2 * 256


def test_what_somebody_says_wins_by_whichever_spelling() -> None:
    said = {"tensor-parallel-size": 2, "served_model_name": "mine", "dist_timeout": 60, "mem_fraction_static": 0.5}
    engine = planned(arguments=said)
    assert engine["serve"][5:] == [
        *("--dist-timeout", "60", "--mem-fraction-static", "0.5", "--served-model-name", "mine"),
        *("--tp-size", "2", "--enable-metrics"),
    ]
    assert engine["settings"]["fit_kv_cache"] is False


@pytest.mark.parametrize(
    "said",
    [
        {"tp": 2, "speculative_algorithm": "NGRAM", "speculative_num_draft_tokens": 8},
        {"pp": 2, "kv_cache_dtype": "fp8_e4m3", "quantization": "modelopt_fp4", "disable_radix_cache": True},
        {"tp": 2, "context_length": "128Ki", "reasoning_parser": "qwen3", "tool_call_parser": "qwen25"},
        {
            "tp": 2,
            "speculative_algorithm": "EAGLE3",
            "speculative_draft_model_path": "/draft/snapshots/abc",
            "speculative_num_steps": 3,
            "speculative_eagle_topk": 1,
            "speculative_num_draft_tokens": 4,
        },
        {"tp": 2, "grammar_backend": "xgrammar", "cuda_graph_bs_decode": [1, 2, 4], "enable_cache_report": True},
        {"tp": 2, "default_chat_template_kwargs": {"enable_thinking": False}, "numa_node": 0},
    ],
    ids=str,
)
def test_what_sglang_takes_passes(said: dict[str, Any]) -> None:
    assert planned(arguments=said)["doubts"] == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"arguments": {}}, "tp_size x pp_size is 1, but there are 2 Sparks"),
        ({"arguments": {"tp": 3}, "config": {"num_attention_heads": 64}}, "tp_size 3 does not divide the 64 attention"),
        ({"image": "vllm/vllm-openai:v0.28.0"}, "is an image of vLLM, and SGLang is to serve: set sglang_serve_base"),
        ({"image": "nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5"}, "is an image of TensorRT-LLM"),
        (
            {"environment": {"SGLANG_HOST_IP": "10.0.0.1"}},
            "sglang_serve_environment: SGLANG_HOST_IP is set by the role",
        ),
        ({"repo": "a/b:c"}, "SGLang takes no name with a colon"),
        ({"arguments": {"tp": 2, "quantization": "nvfp4"}}, "quantization is nvfp4, which SGLang does not know: leave"),
        ({"arguments": {"tp": 2, "max_runing_requests": 4}}, "did you mean max_running_requests?"),
        ({"arguments": {"tp": 2, "context_length": "16K"}}, "a whole number, or one such as 16k or 16Ki"),
        ({"arguments": {"tp": 2, "dp_size": 2}}, "serve another instance for another copy, or say attn_dp_size"),
        ({"arguments": {"tp": 2, "enable_metrics": True}}, "it is always on"),
        ({"arguments": {"tp": 2, "api_key": "s"}}, "api_key is a secret"),
        ({"arguments": {"tp": 2, "disaggregation_mode": "prefill"}}, "disaggregation_mode is set by the role"),
        ({"arguments": {"tp": 2, "speculative_algorithm": "EAGLE"}}, "speculative_draft_model_path names none"),
        (
            {"arguments": {"pp": 2, "speculative_algorithm": "NGRAM"}},
            "SGLang guesses no tokens over the stages of a pipeline",
        ),
        (
            {"arguments": {"tp": 2, "speculative_num_steps": 3}},
            "speculative_num_steps is said without speculative_algorithm",
        ),
        (
            {
                "arguments": {
                    "tp": 2,
                    "speculative_algorithm": "EAGLE3",
                    "speculative_draft_model_path": "nvidia/x",
                    "speculative_eagle_topk": 4,
                }
            },
            "would look for on the internet, and it runs offline: say an absolute path inside the containers; "
            "speculative_eagle_topk is said without speculative_num_steps",
        ),
    ],
    ids=str,
)
def test_what_would_only_fail_later_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ServeError, match=re.escape(says)):
        planned(**changes)


def test_a_models_own_layers_guess_without_another_model() -> None:
    said = {"tp": 2, "speculative_algorithm": "EAGLE"}
    assert planned(arguments=said, config={"num_nextn_predict_layers": 1})["doubts"] == []


def test_what_looks_like_the_wrong_algorithm_is_a_doubt() -> None:
    said = {"tp": 2, "speculative_algorithm": "EAGLE", "speculative_draft_model_path": "/models/eagle3-llama"}
    (doubt,) = planned(arguments=said)["doubts"]
    assert doubt.startswith("speculative_algorithm is EAGLE, and /models/eagle3-llama looks like a head of EAGLE-3")


def test_its_environment_is_the_roles() -> None:
    found = planned(environment={"SGLANG_LOG_MS": 1, "LEFT": None})["environment"]
    assert (found["DO_NOT_TRACK"], found["HF_HUB_OFFLINE"], found["SGLANG_LOG_MS"]) == ("1", "1", "1")
    assert found["SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION"] == "0"
    assert "LEFT" not in found


def test_what_the_plan_and_the_supervisor_set_is_owned() -> None:
    texts = [(SUPERVISOR / name).read_text() for name in ("caches.py", "engines/sglang.py")]
    names = {name for text in texts for name in re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', text)}
    names |= {f"{library}_SOCKET_IFNAME" for library in ("GLOO", "NCCL", "TP")}
    assert {"SGLANG_HOST_IP", "SGLANG_CACHE_DIR", "TRITON_CACHE_DIR"} <= names
    assert [name for name in sorted(names) if not list(ENGINE.environment_problems({name: "x"}))] == []


def test_all_that_is_owned_is_a_flag_or_a_beginning_of_some() -> None:
    assert VERSION == "0.5.23"
    assert [name for name in (*PARSER.owned, *PARSER.secrets) if name not in FLAGS] == []
    assert [one for one in PARSER.owned_beginnings if not any(name.startswith(one) for name in FLAGS)] == []
