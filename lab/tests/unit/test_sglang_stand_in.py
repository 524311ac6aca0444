# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for SGLang: two nodes that answer, refuse, and end as its wheel's source says of the real one."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import pytest
from every_node_support import Cluster, free_port, until

SCHEDULER, DETOKENIZER = "sglang::scheduler", "sglang::detokenizer"


class SGLang(Cluster):
    """Nodes of SGLang."""

    def __init__(self, folder: Path, **environment: str) -> None:
        super().__init__(folder, ["-m", "sglang.launch_server"], **environment)

    def node(self, rank: int, size: int = 2, *words: str) -> Any:
        place = ["--nnodes", str(size), "--node-rank", str(rank), "--dist-init-addr", f"127.0.0.1:{self.meeting}"]
        port = str(free_port() if rank else self.port)
        own = ["--model-path", str(self.model), "--tp-size", str(size), "--port", port, "--enable-metrics"]
        return self.start(*own, *(place if size > 1 else []), *words)

    def pair(self, *words: str) -> None:
        for rank in range(2):
            self.node(rank, 2, "--served-model-name", "lab/tiny", *words)
        self.await_answer("/ready")


@pytest.fixture
def one(tmp_path: Path) -> Iterator[SGLang]:
    made = SGLang(tmp_path, SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION="0")
    yield made
    made.end()


def test_two_nodes_answer_and_say_what_the_real_one_says(one: SGLang) -> None:
    one.pair()
    status, said = one.chat()
    assert (status, said["usage"]["completion_tokens"]) == (200, 4)
    assert {rank["rank"] for rank in said["virtual_spark"]["ranks"]} == {0, 1}
    assert one.ask("/v1/models")[1]["data"][0] | {"created": 0} == {
        "id": "lab/tiny",
        "object": "model",
        "created": 0,
        "owned_by": "sglang",
        "root": "lab/tiny",
        "parent": None,
        "max_model_len": 4096,
    }
    assert one.ask("/get_model_info")[1]["served_model_name"] == "lab/tiny"
    assert [one.ask(path)[0] for path in ("/health", "/health_generate", "/ready", "/nowhere")] == [200, 200, 200, 404]
    figures = one.ask("/metrics")[1]
    assert "sglang:num_running_reqs{" in figures
    assert 'sglang:realtime_tokens_total{engine_type="unified",model_name="lab/tiny"' in figures
    head, other = one.said(0), one.said(1)
    for line in ("TP0] Init parallel begin.", "Load weight end. elapsed=", "max_total_num_tokens=65536, "):
        assert line in head, head
    assert "NCCL INFO NET/Socket : Using [0]lo:127.0.0.1" in head
    assert "TP1] Load weight begin." in other
    assert "The server is fired up and ready to roll!" in head
    assert not one.pids(1, DETOKENIZER)
    assert b"NCCL_DEBUG" not in Path(f"/proc/{one.pids(0, SCHEDULER)[0]}/environ").read_bytes()


def test_the_others_reach_the_first_at_the_address_that_it_is_told(tmp_path: Path) -> None:
    one = SGLang(tmp_path, SGLANG_HOST_IP="127.0.0.7")
    try:
        one.pair()
        (pid,) = one.pids(1, SCHEDULER)
        peers = [line.split()[2] for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
        assert any(peer.startswith("0700007F:") for peer in peers)
    finally:
        one.end()


def test_one_node_serves_alone(one: SGLang) -> None:
    one.node(0, 1)
    one.await_answer("/ready")
    assert one.chat()[0] == 200
    assert one.ask("/v1/models")[1]["data"][0]["id"] == str(one.model)


def test_a_stream_ends_with_done(one: SGLang) -> None:
    one.pair()
    text = one.chat(stream=True)[1]
    assert text.rstrip().endswith("data: [DONE]")
    assert '"finish_reason": "length"' in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--no-such-flag", "1"], "sglang serve: error: unrecognized arguments: --no-such-flag 1"),
        (["--max-running-requests", "many"], "sglang serve: error: argument --max-running-requests: invalid int value"),
        (["--kv-cache-dtype", "fp4"], "sglang serve: error: argument --kv-cache-dtype: invalid choice: 'fp4'"),
    ],
)
def test_its_parser_refuses_with_status_2(one: SGLang, words: list[str], says: str) -> None:
    assert one.node(0, 2, *words).wait(20) == 2
    assert says in one.said()


def test_a_node_waits_for_the_others_silently_and_not_for_ever(one: SGLang) -> None:
    alone = one.node(0, 2, "--dist-timeout", "2")
    until(lambda: "Init parallel begin." in one.said())
    assert one.ask("/health")[0] == 0, "no port answers while it loads"
    assert alone.wait(20) == -signal.SIGKILL
    assert "DistStoreError: Timed out after 3 seconds waiting for clients. 1/2 clients joined." in one.said()
    assert "Received sigquit from a child process" in one.said()


def test_a_model_that_lacks_a_file_ends_the_node_that_lacks_it(one: SGLang) -> None:
    next(one.model.glob("*.safetensors")).unlink()
    nodes = [one.node(rank) for rank in range(2)]
    assert [node.wait(30) for node in nodes] == [-signal.SIGKILL] * 2
    assert "is missing" in one.said(0)


def test_a_head_whose_rank_is_killed_ends_and_so_does_the_other_node(one: SGLang) -> None:
    one.pair()
    one.signal(0, SCHEDULER, signal.SIGKILL)
    assert [node.wait(20) for node in one.nodes] == [-signal.SIGKILL] * 2
    assert "crashed with exit code -9. Triggering SIGQUIT for cleanup" in one.said()
    assert "Connection closed by peer" in one.said(1)


def test_a_killed_head_takes_its_children_along(one: SGLang) -> None:
    one.pair()
    one.nodes[0].kill()
    until(lambda: not one.pids(0, SCHEDULER) and not one.pids(0, DETOKENIZER))
    assert one.nodes[1].wait(20) == -signal.SIGKILL


def test_another_node_whose_rank_is_killed_ends_well_and_an_idle_head_sees_it(one: SGLang) -> None:
    one.pair()
    one.signal(1, SCHEDULER, signal.SIGKILL)
    assert one.nodes[1].wait(20) == 0
    assert "terminated with -9" in one.said(1)
    assert one.nodes[0].wait(20) == -signal.SIGKILL
    assert "Connection closed by peer" in one.said(0)


def test_a_peer_that_dies_under_a_request_is_not_seen_before_the_watchdog(one: SGLang) -> None:
    """Its kernels wait, /health is 200, and a request gets no word."""
    one.pair("--watchdog-timeout", "4")
    (one.folder / "faults" / "slow-tokens").write_text("0.2")
    got: list[Any] = []
    threading.Thread(target=lambda: got.append(one.chat(max_tokens=400)), daemon=True).start()
    until(lambda: "gave" in one.said(1))
    one.signal(1, SCHEDULER, signal.SIGKILL)
    until(lambda: "NCCL WARN socketProgress" in one.said(0) or one.nodes[0].poll() is not None)
    assert one.ask("/health")[0] == 200
    assert not got
    assert one.nodes[0].wait(30) == -signal.SIGKILL
    assert "Scheduler watchdog timeout (self.watchdog_timeout=4" in one.said(0)


def test_a_peer_that_is_stopped_is_not_seen_by_health_and_a_request_waits_for_it(one: SGLang) -> None:
    one.pair()
    one.signal(1, SCHEDULER, signal.SIGSTOP)
    assert one.ask("/health")[0] == 200
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    assert one.ask("/v1/chat/completions", body, timeout=2)[0] == 0
    one.signal(1, SCHEDULER, signal.SIGCONT)
    assert one.chat()[0] == 200


def test_another_node_ignores_sigterm_and_the_head_ends_all(one: SGLang) -> None:
    one.pair()
    one.nodes[1].terminate()
    until(lambda: "waiting for the rank-0 ShutdownReq broadcast" in one.said(1))
    assert one.chat()[0] == 200
    began = time.monotonic()
    one.nodes[0].terminate()
    until(lambda: one.ask("/health")[0] == 503, 5)
    assert [node.wait(20) for node in one.nodes] == [0, 0]
    assert time.monotonic() - began < 15


def test_a_rank_says_what_it_answers_whatever_its_scheduler_does(one: SGLang) -> None:
    """A further node's /health is no sign of anything but of its process."""
    one.node(0)
    port = free_port()
    one.node(1, 2, "--port", str(port))
    one.await_answer("/ready")
    os.kill(one.pids(1, SCHEDULER)[0], signal.SIGSTOP)
    first, one.port = one.port, port
    assert one.ask("/health_generate")[0] == 200
    one.port = first
