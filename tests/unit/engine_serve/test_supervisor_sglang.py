# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is particular to SGLang: a command on every node, its lines, its counters and its end."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from supervisor import engines, network, paths
from supervisor.engines import sglang
from supervisor.memory import Reading
from supervisor_support import CLUSTER, ONE, metrics

LIMITS = {"load_timeout_s": 3700, "memory_floor_mib": 8192, "memory_load_floor_mib": 16384}
SERVE = {
    "engine": {"name": "sglang"},
    "serve": ["python3", "-m", "sglang.launch_server", "--model-path", "/models/snapshots/abc", "--tp-size", "2"],
    "api_listen": "192.168.1.10:8355",
    "limits": LIMITS,
}
RANK = ["python3", "/opt/dgx-spark/entrypoint.py", "rank", "--"]
API = ["--host", "192.168.1.10", "--port", "8355"]


def of(cluster: dict[str, Any], **more: Any) -> sglang.SGLang:
    engine = engines.of({**cluster, **SERVE, **more})
    assert isinstance(engine, sglang.SGLang)
    return engine


def test_a_single_node_serves_plainly() -> None:
    assert of(ONE).commands() == {"spark1": [*RANK, *SERVE["serve"], *API]}


def test_every_node_has_the_same_command_but_for_its_rank_and_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "free_port", lambda first: first + 1)
    found = of(CLUSTER).commands()
    place = ["--nnodes", "2", "--dist-init-addr", "192.168.100.1:25001", "--node-rank"]
    assert list(found) == ["spark1", "spark2"], "the leader's first"
    assert found["spark1"] == [*RANK, *SERVE["serve"], *place, "0", *API]
    assert found["spark2"] == [*RANK, *SERVE["serve"], *place, "1", "--host", "127.0.0.1", "--port", "8355"]


@pytest.mark.parametrize(
    ("readings", "engine", "more", "share"),
    [
        ([(114000, 122880)], {}, {}, "0.8"),  # of what is free, all but 22.5 GB
        ([(114000, 122880)], {"overhead_mib": 12864}, {}, "0.74"),  # activations and graphs come on top
        ([(114000, 122880), (90000, 122880)], {}, {}, "0.74"),  # the node with the least
        ([(490000, 500000)], {}, {}, "0.9"),
        ([(20000, 122880)], {}, {}, "0.1"),
        ([(114000, 122880)], {}, {"memory_budget_mib": 57000}, "0.5"),
        ([(114000, 122880)], {"fit_kv_cache": False}, {"memory_budget_mib": 57000}, None),  # somebody has said it
        ([(114000, 0)], {}, {}, None),
        ([(57000, 61440)], {}, {}, "0.8"),  # half a Spark keeps half
    ],
)
def test_it_takes_so_much_memory_that_the_guards_floor_is_kept(
    readings: list[tuple[int, int]], engine: dict[str, Any], more: dict[str, int], share: str | None
) -> None:
    one = of(ONE, engine={"name": "sglang", "fit_kv_cache": True, **engine}, limits={**LIMITS, **more})
    one.memory = {f"spark{number}": Reading(0, total, 0, left) for number, (left, total) in enumerate(readings)}
    argv = one.commands()["spark1"]
    flag = "--mem-fraction-static"
    assert (argv[argv.index(flag) + 1] if flag in argv else None) == share


def test_a_rank_says_where_the_others_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "CONFIG", tmp_path)
    own = {"address": "192.168.100.2", "environment": {"NCCL_SOCKET_IFNAME": "enp1s0f0np0"}}
    (tmp_path / "node.json").write_text(json.dumps(own))
    assert of(CLUSTER).rank_environment() == {
        "SGLANG_HOST_IP": "192.168.100.2",
        "GLOO_SOCKET_IFNAME": "enp1s0f0np0",
        "NCCL_SOCKET_IFNAME": "enp1s0f0np0",
        "TP_SOCKET_IFNAME": "enp1s0f0np0",
    }


def test_all_ranks_have_the_plans_environment_and_their_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    monkeypatch.delenv("DGX_SPARK_CONFIG", raising=False)
    found = of(CLUSTER).environment()
    assert found["HF_HUB_OFFLINE"] == "1"
    assert found["SGLANG_CACHE_DIR"] == str(tmp_path / "cache" / "sglang")
    assert found["TRITON_CACHE_DIR"] == str(tmp_path / "cache" / "triton")


def test_the_model_is_compared_between_the_nodes(tmp_path: Path) -> None:
    engine = of(CLUSTER, serve=[*SERVE["serve"][:4], str(tmp_path)])
    before = engine.identity()
    (tmp_path / "config.json").write_text("{}")
    assert engine.identity() != before


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        ("[2026-11-30 17:11:11 TP1] Init parallel begin.", "waiting for the other ranks"),
        ("[2026-11-30 17:11:12.123 PP0 TP1] Load weight begin. avail mem=112.40 GB", "loading weights"),
        (
            "Loading safetensors checkpoint shards:  67% Completed | 10/15 [00:02<00:00,  4.1it/s]",
            "Loading safetensors checkpoint shards, 60 %",
        ),
        ("Multi-thread loading shards: 100% Completed | 4/4 [00:01", "loading shards, 100 %"),
        ("[2026-11-30 17:11:15 TP0] Load weight end. elapsed=8.1 s, type=Qwen3ForCausalLM", "warming up"),
        ("[2026-11-30 17:11:15 TP0] Memory pool end. avail mem=24.1 GB", "warming up"),
        ("[2026-11-30 17:11:15 TP0] Capture target decode CUDA graph begin. backend=full", "warming up"),
        ("Capturing batches (bs=24 avail_mem=23.90 GB):  43%|####3     | 3/7", "Capturing batches, 40 %"),
        ("Capturing prefill shape (num_tokens=512 avail_mem=23.90 GB):  50%|#####  |", "Capturing prefill shape, 50 %"),
        ("[2026-11-30 17:11:15] The server is fired up and ready to roll!", ""),
        ("[2026-11-30 17:11:15] server_args=ServerArgs(model_path='Load weight begin')", ""),
    ],
)
def test_how_far_a_load_is(line: str, stage: str) -> None:
    assert of(ONE).progress(line) == stage


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("launch_server.py: error: unrecognized arguments: --no-such-flag", "unrecognized arguments: --no-such-flag"),
        ("sglang serve: error: unrecognized arguments: --no-such-flag", "unrecognized arguments: --no-such-flag"),
        (
            "ValueError: Loaded weights leave no GPU memory for the KV cache under --mem-fraction-static=0.3.",
            "ValueError: Loaded weights leave no GPU memory for the KV cache under --mem-fraction-static=0.3.",
        ),
        (
            "torch.distributed.DistNetworkError: The client socket has timed out",
            "torch.distributed.DistNetworkError: The client socket has timed out",
        ),
        ("[2026-11-30 17:11:15 TP0] Scheduler hit an exception: Traceback (most recent call last):", ""),
        ("[2026-11-30 17:11:15] Received sigquit from a child process. It usually means the child failed.", ""),
        (
            "[2026-11-30 17:11:15] Subprocess scheduler_0 (pid=77) crashed with exit code -9. Triggering SIGQUIT for",
            "Subprocess scheduler_0 (pid=77) crashed with exit code -9",
        ),
        ("[2026-11-30 17:11:15] Ignore import error when loading sglang.srt.models.x: ImportError: no y", ""),
        (
            '[rank1]:[W1129 TCPStore.cpp:106] [PG ID 0 Rank 1] Failed to check the "should dump" flag on TCPStore',
            "the first rank's store is gone: its processes have ended",
        ),
        ("[2026-11-30 17:11:15] INFO: 0 Errors: none", ""),
    ],
)
def test_what_went_wrong(line: str, error: str) -> None:
    assert of(ONE).error(line) == error


def test_how_many_tokens_fit_and_whether_they_do() -> None:
    line = "[2026-11-30 17:11:15 TP0] max_total_num_tokens=131072, chunked_prefill_size=4096, max_running_requests=32"
    assert of(ONE).kv_tokens(line) == 131072
    assert of(ONE).kv_tokens("server_args=ServerArgs(max_total_tokens=7)") == 0
    engine = of(ONE, engine={"name": "sglang", "min_kv_tokens": 200000})
    assert "fewer than sglang_serve_min_kv_tokens" in engine.too_few(131072)
    assert "mem_fraction_static in sglang_serve_arguments" in engine.too_few(131072)


def told(passes: int, running: int = 1) -> str:
    return (
        "# HELP sglang:cuda_graph_passes_total Total number of forward passes categorized by CUDA graph.\n"
        f'sglang:cuda_graph_passes_total{{mode="decode_cuda_graph",model_name="m",tp_rank="0"}} {passes}.0\n'
        f'sglang:num_running_reqs{{model_name="m"}} {running}.0\n'
    )


@pytest.mark.parametrize(
    ("answers", "status", "busy"),
    [
        ([told(7), told(9)], 200, True),
        ([told(7), told(7, running=2)], 200, False),
        ([told(7)], 503, False),
    ],
    ids=["steps", "a queue that stands still", "dead"],
)
def test_a_busy_engine_is_not_a_dead_one(answers: list[str], status: int, busy: bool) -> None:
    with metrics(answers, status) as address:
        assert of(ONE).is_busy(address, timeout=5, pause=0) == busy


@pytest.mark.parametrize(("status", "again"), [(0, True), (2, False), (-9, True), (None, True)])
def test_arguments_that_it_refuses_are_not_tried_again(status: int | None, again: bool) -> None:
    assert of(ONE).may_start_again(status) is again


def test_its_head_ends_all_and_one_that_loads_is_killed() -> None:
    assert of(ONE).head_ends_all
    assert of(ONE).end_signals(False, 25) == [(signal.SIGKILL, 10)]
    assert of(ONE).end_signals(True, 25) == [(signal.SIGTERM, 25), (signal.SIGKILL, 10)]
