# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is particular to vLLM: a command on every node, its lines, its counters and its end."""

from __future__ import annotations

import contextlib
import http.server
import json
import signal
import socket
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest
from supervisor import engines, identity, network, paths, ssh
from supervisor.engines import vllm
from supervisor.memory import Reading
from supervisor_support import CLUSTER, ONE

LIMITS = {"load_timeout_s": 3700, "memory_floor_mib": 8192, "memory_load_floor_mib": 16384}
SERVE = {
    "engine": {"name": "vllm"},
    "serve": ["vllm", "serve", "/models/snapshots/abc", "--tensor-parallel-size", "2"],
    "api_listen": "127.0.0.1:8355",
    "limits": LIMITS,
}
RANK = ["python3", "/opt/dgx-spark/entrypoint.py", "rank", "--"]


def of(cluster: dict[str, Any], **more: Any) -> vllm.VLLM:
    engine = engines.of({**cluster, **SERVE, **more})
    assert isinstance(engine, vllm.VLLM)
    return engine


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This node's own file, and a container's directories."""
    monkeypatch.setattr(paths, "CONFIG", tmp_path)
    monkeypatch.setattr(paths, "STATE", tmp_path / "state")
    monkeypatch.delenv("DGX_SPARK_CONFIG", raising=False)
    return tmp_path / "node.json"


def test_a_single_node_serves_plainly() -> None:
    assert of(ONE).commands() == {"spark1": [*RANK, *SERVE["serve"], "--host", "127.0.0.1", "--port", "8355"]}


def test_every_node_has_the_same_command_but_for_its_rank_and_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "free_port", lambda first: first + 1)
    found = of(CLUSTER).commands()
    place = ["--nnodes", "2", "--master-addr", "192.168.100.1", "--master-port", "29502", "--node-rank"]
    assert list(found) == ["spark1", "spark2"], "the leader's first"
    assert found["spark1"] == [*RANK, *SERVE["serve"], *place, "0", "--host", "127.0.0.1", "--port", "8355"]
    assert found["spark2"] == [*RANK, *SERVE["serve"], *place, "1", "--headless"]


def test_three_nodes_have_three_ranks() -> None:
    third = {"name": "spark3", "address": "192.168.100.3"}
    found = of({**CLUSTER, "nodes": [*CLUSTER["nodes"], third]}).commands()
    assert [argv[argv.index("--node-rank") + 1] for argv in found.values()] == ["0", "1", "2"]
    assert [argv[-1] for argv in found.values()].count("--headless") == 2
    assert len({argv[argv.index("--master-port") + 1] for argv in found.values()}) == 1


@pytest.mark.parametrize(
    ("readings", "fit", "more", "share"),
    [
        ([(114000, 122880)], True, {}, "0.74"),  # 22.5 GB are kept
        ([(114000, 122880), (90000, 122880)], True, {}, "0.54"),  # the node with the least
        ([(490000, 500000)], True, {}, "0.9"),
        ([(20000, 122880)], True, {}, "0.1"),
        ([(114000, 122880)], True, {"memory_budget_mib": 61440}, "0.5"),
        ([(114000, 122880)], False, {"memory_budget_mib": 61440}, None),  # somebody has said it
        ([(114000, 0)], True, {}, None),
        ([(114000, 122880)], True, {"memory_floor_mib": 0}, "0.87"),
    ],
)
def test_it_takes_so_much_memory_that_the_guards_floor_is_kept(
    readings: list[tuple[int, int]], fit: bool, more: dict[str, int], share: str | None
) -> None:
    engine = of(ONE, engine={"name": "vllm", "fit_kv_cache": fit}, limits={**LIMITS, **more})
    engine.memory = {f"spark{number}": Reading(0, total, 0, left) for number, (left, total) in enumerate(readings)}
    argv = engine.commands()["spark1"]
    flag = "--gpu-memory-utilization"
    assert (argv[argv.index(flag) + 1] if flag in argv else None) == share


def test_a_rank_says_where_the_others_reach_it(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node.write_text(json.dumps({"address": "192.168.100.2", "environment": {"NCCL_SOCKET_IFNAME": "enp1s0f0np0"}}))
    assert of(CLUSTER).rank_environment() == {
        "VLLM_HOST_IP": "192.168.100.2",
        "GLOO_SOCKET_IFNAME": "enp1s0f0np0",
        "NCCL_SOCKET_IFNAME": "enp1s0f0np0",
        "TP_SOCKET_IFNAME": "enp1s0f0np0",
    }
    node.write_text(json.dumps({"address": "127.0.0.1", "environment": {}}))
    found = of(CLUSTER).rank_environment()
    assert (found["VLLM_HOST_IP"], found["GLOO_SOCKET_IFNAME"]) == ("127.0.0.1", "lo")
    monkeypatch.setattr(network, "netdev_of", lambda _address: "")
    assert of(CLUSTER).rank_environment() == {"VLLM_HOST_IP": "127.0.0.1"}


def test_all_ranks_have_the_plans_environment_their_caches_and_time_to_load(node: Path) -> None:
    found = of(CLUSTER).environment()
    assert found["HF_HUB_OFFLINE"] == "1"
    assert found["VLLM_CACHE_ROOT"] == str(node.parent / "state" / "cache" / "vllm")
    assert found["VLLM_ENGINE_READY_TIMEOUT_S"] == "3700"
    assert "VLLM_ALLREDUCE_USE_SYMM_MEM" not in found, "of GPUs that share a switch"


def test_the_model_is_compared_between_the_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "snapshots" / "abc"
    (model / "inner").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (tmp_path / "blob1").write_text("weights")
    (model / "inner" / "model.safetensors").symlink_to(tmp_path / "blob1")
    engine = of(CLUSTER, serve=["vllm", "serve", str(model)])
    own = engine.identity()
    said = [json.dumps(own)]
    monkeypatch.setattr(ssh, "on_worker", lambda _node, word, _timeout: said[0] if word == "identity" else "")
    engine.check_nodes()
    (tmp_path / "blob1").rename(tmp_path / "blob2")
    (model / "inner" / "model.safetensors").unlink()
    (model / "inner" / "model.safetensors").symlink_to(tmp_path / "blob2")
    with pytest.raises(RuntimeError, match=rf"spark2 has another model than spark1: {own['model']} and \w+; run the"):
        engine.check_nodes()
    said[0] = json.dumps({"model": ""})
    with pytest.raises(RuntimeError, match="another model than spark1: none and"):
        engine.check_nodes()
    of(ONE).check_nodes()
    assert identity.of_folder(tmp_path / "nowhere") == ""


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        (
            "(Worker_TP1 pid=9) INFO 11-30 17:11:11 [parallel_state.py:1906] world_size=2 rank=1 local_rank=0 "
            "distributed_init_method=tcp://10.77.1.10:29501 backend=nccl",
            "waiting for the other ranks",
        ),
        ("(Worker pid=9) INFO 11-30 17:11:11 [cpu_model_runner.py:68] Starting to load model m...", "loading weights"),
        ("(Worker pid=9) INFO 11-30 17:11:11 [gpu_model_runner.py:9] Loading model from scratch...", "loading weights"),
        (
            "\x1b[0;36m(Worker pid=9)\x1b[0;0m Loading safetensors checkpoint shards: 100% Completed | 4/4 [00:01",
            "Loading safetensors checkpoint shards, 100 %",
        ),
        ("Multi-thread loading pt checkpoint shards:  25%|##5  | 1/4", "loading pt checkpoint shards, 20 %"),
        ("(Worker pid=9) INFO 11-30 17:11:11 [backends.py:7] Dynamo bytecode transform time: 3.1 s", "compiling"),
        ("(Worker pid=9) INFO 11-30 17:11:11 [monitor.py:34] torch.compile took 16.37 s in total", "compiling"),
        (
            "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  43%|####3     | 22/51",
            "Capturing CUDA graphs, 40 %",
        ),
        ("(Worker pid=9) INFO 11-30 17:11:11 [gpu_worker.py:9] Available KV cache memory: 41.12 GiB", "warming up"),
        ("(APIServer pid=9) INFO 11-30 17:11:22 [launcher.py:195] Route: /docs, Methods: HEAD, GET", ""),
        (
            "(EngineCore pid=9) INFO 11-30 17:10:54 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: "
            "model='m', torch.compile took, Capturing CUDA graphs",
            "",
        ),
    ],
)
def test_how_far_a_load_is(line: str, stage: str) -> None:
    assert of(ONE).progress(line) == stage


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("main.py: error: unrecognized arguments: --no-such-flag", "unrecognized arguments: --no-such-flag"),
        ("(APIServer pid=9) OSError: [Errno 98] Address already in use", "OSError: [Errno 98] Address already in use"),
        (
            "(APIServer pid=9)   Value error, World size (2) is larger than the GPUs (1). [type=value_error, input=A",
            "World size (2) is larger than the GPUs (1).",
        ),
        ("(APIServer pid=9) pydantic_core._pydantic_core.ValidationError: 1 validation error for ParallelConfig", ""),
        (
            "(Worker pid=9) ERROR 11-30 17:11:11 [multiproc_executor.py:953] torch.distributed.DistStoreError: Timed "
            "out after 31 seconds waiting for clients. 1/2 clients joined.",
            "torch.distributed.DistStoreError: Timed out after 31 seconds waiting for clients. 1/2 clients joined.",
        ),
        (
            "(EngineCore pid=9) ERROR 11-30 17:11:11 [multiproc_executor.py:315] Worker proc VllmWorker-1 died "
            "unexpectedly (exit code: None), shutting down executor.",
            "Worker proc VllmWorker-1 died unexpectedly (exit code: None), shutting down executor.",
        ),
        (
            "(EngineCore pid=9) ERROR 11-30 17:11:11 [core.py:1] RuntimeError: Engine core initialization failed. See "
            "root cause above. Failed core proc(s): {}",
            "",
        ),
        (
            '[rank1]:[W1129 TCPStore.cpp:106] [PG ID 0 Rank 1] Failed to check the "should dump" flag on TCPStore',
            "the first rank's store is gone: its processes have ended",
        ),
        ("(APIServer pid=9) INFO 11-30 17:11:11 [loggers.py:3] 0 Errors: none", ""),
        ("(Worker pid=9) ERROR 11-30 17:11:11 [x.py:3]     raise ValueError(", ""),
        ("(APIServer pid=9) vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.", ""),
    ],
)
def test_what_went_wrong(line: str, error: str) -> None:
    assert of(ONE).error(line) == error


def test_how_many_tokens_fit_and_whether_they_do() -> None:
    line = "(EngineCore pid=9) INFO 11-30 17:11:15 [kv_cache_utils.py:2327] {} KV cache size: 131,072 tokens, Maximum"
    assert [of(ONE).kv_tokens(line.format(device)) for device in ("GPU", "CPU", "GPU + host")] == [131072] * 3
    assert of(ONE).kv_tokens("Using LBHNC KV cache layout.") == 0
    engine = of(ONE, engine={"name": "vllm", "min_kv_tokens": 200000})
    assert engine.too_few(131072).startswith("131072 tokens fit into the KV cache, fewer than vllm_serve_min_kv_tokens")
    assert "gpu_memory_utilization in vllm_serve_arguments" in engine.too_few(131072)
    assert engine.too_few(200000) == ""


@contextlib.contextmanager
def metrics(answers: list[str], status: int = 200) -> Iterator[str]:
    """SIMULATED: an engine's /metrics, one answer after the other, the last one for ever."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write((answers.pop(0) if len(answers) > 1 else answers[0]).encode())

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def told(tokens: int, steps: int, running: int = 1) -> str:
    return (
        "# HELP vllm:generation_tokens_total Number of generation tokens processed.\n"
        f'vllm:generation_tokens_total{{engine="0",model_name="m"}} {tokens}.0\n'
        f'vllm:iteration_tokens_total_count{{engine="0",model_name="m"}} {steps}.0\n'
        f'vllm:num_requests_running{{engine="0",model_name="m"}} {running}.0\n'
    )


@pytest.mark.parametrize(
    ("answers", "status", "busy"),
    [
        ([told(7, 3), told(9, 4)], 200, True),
        ([told(7, 3), told(7, 4)], 200, True),
        ([told(7, 3), told(7, 3, running=2)], 200, False),
        ([told(7, 3)], 503, False),
        (["nothing", "nothing else"], 200, False),
    ],
    ids=["tokens", "a long prompt", "a queue that stands still", "dead", "another server"],
)
def test_a_busy_engine_is_not_a_dead_one(answers: list[str], status: int, busy: bool) -> None:
    with metrics(answers, status) as address:
        assert of(ONE).is_busy(address, timeout=5, pause=0) == busy


def test_an_engine_that_accepts_and_never_answers_is_dead() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not of(ONE).is_busy(f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.2, pause=0)


@pytest.mark.parametrize(("status", "again"), [(0, True), (1, True), (2, False), (-9, True), (None, True), (255, True)])
def test_arguments_that_it_refuses_are_not_tried_again_and_0_is_a_failure(status: int | None, again: bool) -> None:
    assert of(ONE).may_start_again(status) is again


def test_it_waits_for_no_port_that_was_just_its_own() -> None:
    """Both the server of 0.26 and that of 0.32 bind with SO_REUSEADDR; TensorRT-LLM's does not."""
    assert of(ONE).reuses_port
    assert not engines.of({**ONE, "engine": {"name": "trtllm"}}).reuses_port


def test_one_that_loads_is_killed_and_one_that_serves_is_asked_first() -> None:
    assert of(ONE).end_signals(False, 25) == [(signal.SIGKILL, 10)]
    assert of(ONE).end_signals(True, 25) == [(signal.SIGTERM, 5), (signal.SIGKILL, 10)], "it waits for clients for ever"
    assert of(ONE).end_signals(True, 1) == [(signal.SIGTERM, 1), (signal.SIGKILL, 10)]
