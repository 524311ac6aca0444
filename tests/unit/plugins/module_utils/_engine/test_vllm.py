# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What vLLM is told, and what is refused before it starts."""

from __future__ import annotations

import sys
import subprocess
import select
import os
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import cluster, vllm
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import vllm_environment as environment
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError

SUPERVISOR = Path(__file__).parents[5] / "roles" / "engine_serve" / "files" / "image" / "supervisor"
REPO = "/home/nvidia/.cache/huggingface/hub/models--lab--tiny"


def planned(**changes: Any) -> dict[str, Any]:
    wanted = {
        "members": ["spark1", "spark2"],
        "snapshot": f"{REPO}/snapshots/abc",
        "repo_dir": REPO,
        "repo": "lab/tiny",
        "model_bytes": 134 * 10**9,
        "arguments": {"tensor_parallel_size": 2, "max_num_seqs": 32},
    }
    return vllm.plan(vllm.Request(**{**wanted, **changes}))


def test_two_sparks() -> None:
    engine = planned()
    assert engine["serve"] == [
        *("vllm", "serve", "/models/snapshots/abc", "--distributed-timeout-seconds", "635", "--max-num-seqs", "32"),
        *("--served-model-name", "lab/tiny", "--tensor-parallel-size", "2"),
    ]
    assert (engine["name"], engine["world"], engine["files"], engine["downloads"]) == ("vllm", 2, {}, [])
    assert engine["settings"] == {"name": "vllm", "fit_kv_cache": True, "min_kv_tokens": 0}
    assert engine["doubts"] == []


def test_one_spark_waits_for_nobody() -> None:
    assert planned(members=["spark1"], arguments={})["serve"][3:] == ["--served-model-name", "lab/tiny"]
    assert planned(members=["spark1"], arguments={}, repo="")["serve"][3:] == []


def test_what_somebody_says_wins_by_whichever_spelling() -> None:
    said = {"tp": 2, "served-model-name": ["mine", "yours"], "distributed_timeout_seconds": 60}
    engine = planned(arguments={**said, "gpu_memory_utilization": 0.5})
    assert engine["serve"][3:] == [
        *("--distributed-timeout-seconds", "60", "--gpu-memory-utilization", "0.5"),
        *("--served-model-name", "mine", "yours", "--tensor-parallel-size", "2"),
    ]
    assert engine["settings"]["fit_kv_cache"] is False
    nulls = planned(arguments={"tp": 2, "served_model_name": None})
    assert nulls["serve"][-4:] == ["--served-model-name", "lab/tiny", "--tensor-parallel-size", "2"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"members": []}, "the group of Sparks is empty"),
        ({"arguments": {}}, "tensor_parallel_size x pipeline_parallel_size is 1, but there are 2 Sparks"),
        ({"arguments": {"tp": 2, "pp": 2}}, "is 4, but there are 2 Sparks"),
        ({"arguments": {"tp": "two"}}, "tp must be a whole number"),
        ({"arguments": {"tp": 3}, "config": {"num_attention_heads": 64}}, "does not divide the 64 attention heads"),
        ({"arguments": {"tp": 0}}, "is 0, but there are 2 Sparks"),
        ({"snapshot": "/elsewhere/abc"}, "is not below"),
        ({"api_host": "localhost"}, "the API cannot listen on 'localhost'"),
        ({"environment": {"VLLM_HOST_IP": "10.0.0.1"}}, "vllm_serve_environment: VLLM_HOST_IP is set by the role"),
        (
            {"image": "nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5"},
            "is an image of TensorRT-LLM, and vLLM is to serve",
        ),
    ],
)
def test_what_would_only_fail_later_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ServeError, match=re.escape(says)):
        planned(**changes)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ServeError) as error:
        planned(arguments={"tp": 2, "host": "x", "max_modle_len": 1}, environment={"PATH": "/bin"})
    assert all(word in str(error.value) for word in ("host is set", "max_modle_len is no flag", "PATH is set"))


@pytest.mark.parametrize(
    ("vision", "config", "sees"),
    [
        ("auto", {"vision_config": {"a": 1}}, True),
        ("auto", {}, False),
        ("always", {}, True),
        ("never", {"vision_config": {"a": 1}}, False),
    ],
)
def test_whether_it_is_asked_about_a_picture(vision: str, config: dict[str, Any], sees: bool) -> None:
    assert planned(vision=vision, config=config)["sees"] is sees


def test_it_reports_its_use_to_nobody_and_fetches_nothing() -> None:
    found = planned(environment={"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": 120, "LEFT": None})["environment"]
    assert (found["VLLM_NO_USAGE_STATS"], found["DO_NOT_TRACK"], found["HF_HUB_OFFLINE"]) == ("1", "1", "1")
    assert found["VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"] == "120"
    assert "LEFT" not in found


def test_what_the_plan_and_the_supervisor_set_is_owned() -> None:
    node = {
        "name": "spark1",
        "links": [{"rdma_device": "rocep1s0f0", "netdev": "enp1s0f0np0"}],
        **{"netdev": "enp1s0f0np0", "on_fabric": False},
    }
    names = set(cluster.node_environment(node, require_rdma=True))
    texts = [(SUPERVISOR / name).read_text() for name in ("caches.py", "engines/vllm.py")]
    names |= {name for text in texts for name in re.findall(r'"([A-Z]+(?:_[A-Z]+)+)":', text)}
    names |= {f"{library}_SOCKET_IFNAME" for library in ("GLOO", "NCCL", "TP")}
    assert {"VLLM_HOST_IP", "VLLM_CACHE_ROOT", "VLLM_ENGINE_READY_TIMEOUT_S", "TRITON_CACHE_DIR"} <= names
    assert [name for name in sorted(names) if not list(environment.environment_problems({name: "x"}))] == []


def test_what_a_library_prints_comes_while_the_program_runs() -> None:
    """NCCL names the transports so, by C's standard output; vLLM ends by a signal, which throws away what is held back."""
    program = "import ctypes, time; ctypes.CDLL(None).puts(b'NCCL INFO Using network IB'); time.sleep(60)"
    environ = {**os.environ, **environment.environment({})}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environ) as run:
        assert run.stdout
        ready, _writable, _failed = select.select([run.stdout], [], [], 30)
        run.kill()
    assert ready
