# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for vLLM: two nodes that answer, refuse, and end as the real one was seen to."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import pytest
from every_node_support import EVERY_NODE, Cluster, until

CORE, WORKER = "VLLM::EngineCore", "VLLM::Worker"


class VLLM(Cluster):
    """Nodes of vLLM."""

    def __init__(self, folder: Path, **environment: str) -> None:
        super().__init__(folder, [str(EVERY_NODE / "bin" / "vllm"), "serve"], **environment)

    def node(self, rank: int, size: int = 2, *words: str) -> Any:
        place = ["--nnodes", str(size), "--node-rank", str(rank), "--master-addr", "127.0.0.1"]
        place += ["--master-port", str(self.meeting), *(["--headless"] if rank else [])]
        own = [str(self.model), "--tensor-parallel-size", str(size), "--host", "127.0.0.1", "--port", str(self.port)]
        return self.start(*own, *(place if size > 1 else []), *words)

    def pair(self, *words: str) -> None:
        for rank in range(2):
            self.node(rank, 2, "--served-model-name", "lab/tiny", "tiny", *words)
        self.await_answer()


@pytest.fixture
def one(tmp_path: Path) -> Iterator[VLLM]:
    made = VLLM(tmp_path)
    yield made
    made.end()


def test_two_nodes_answer_and_say_what_the_real_one_says(one: VLLM) -> None:
    one.pair()
    status, said = one.chat()
    assert (status, said["usage"]["completion_tokens"]) == (200, 4)
    assert [card["id"] for card in one.ask("/v1/models")[1]["data"]] == ["lab/tiny", "tiny"]
    assert [one.ask(path)[0] for path in ("/health", "/ping", "/version", "/load", "/nowhere")] == [200] * 4 + [404]
    assert one.chat(model="other")[0] == 404
    assert one.chat(model="other")[1]["error"]["type"] == "NotFoundError"
    assert one.chat(max_tokens=5000)[1]["error"]["code"] == 400
    figures = one.ask("/metrics")[1]
    assert 'vllm:generation_tokens_total{engine="0",model_name="lab/tiny"} ' in figures
    assert "vllm:num_requests_running{" in figures
    head, other = one.said(0), one.said(1)
    for line in ("world_size=2 rank=0 ", "GPU KV cache size: 65,536 tokens", "Application startup complete."):
        assert line in head, head
    assert "NCCL INFO NET/Socket : Using [0]lo:127.0.0.1" in head
    assert "headless multiproc executor" in other
    assert not one.pids(1, CORE)


def test_one_node_serves_alone(one: VLLM) -> None:
    one.node(0, 1)
    one.await_answer()
    assert one.chat(model=str(one.model))[0] == 200


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--no-such-flag", "1"], 2, "vllm serve: error: unrecognized arguments: --no-such-flag 1"),
        (["--max-num-seqs", "many"], 2, "vllm serve: error: argument --max-num-seqs: invalid int value"),
        (["--max_model_len", "1000000"], 1, "User-specified max_model_len (1000000) is greater than the derived"),
    ],
)
def test_it_refuses_with_the_real_ones_status(one: VLLM, words: list[str], status: int, says: str) -> None:
    assert one.node(0, 2, *words).wait(20) == status
    assert says in one.said()


def test_a_peer_that_dies_while_idle_is_seen_by_the_next_request(one: VLLM) -> None:
    """The port answers 503 then, and the head ends with 0."""
    one.pair()
    one.signal(1, WORKER, signal.SIGKILL)
    assert one.nodes[1].wait(20) == 0
    assert "died unexpectedly (exit code: None), shutting down executor" in one.said(1)
    assert one.ask("/health")[0] == 200
    status, said = one.chat()
    assert (status, said["error"]["type"]) == (500, "InternalServerError")
    assert one.ask("/health")[0] in (503, 0)
    assert one.nodes[0].wait(20) == 0


def test_a_stream_that_dies_ends_with_an_error_and_then_with_done(one: VLLM) -> None:
    one.pair()
    (one.folder / "faults" / "slow-tokens").write_text("0.1")
    got: list[Any] = []
    threading.Thread(target=lambda: got.append(one.chat(max_tokens=400, stream=True))).start()
    until(lambda: "gave" in one.said(1))
    one.signal(1, WORKER, signal.SIGKILL)
    until(lambda: bool(got))
    *_pieces, error, done = [line[6:] for line in got[0][1].split("\n\n") if line]
    assert done == "[DONE]"
    assert json.loads(error)["error"]["code"] == 500
    assert one.nodes[0].wait(20) == 0


def test_a_killed_server_leaves_core_and_worker_behind_and_the_other_node_stays(one: VLLM) -> None:
    one.pair()
    one.nodes[0].kill()
    one.nodes[0].wait()
    time.sleep(4)
    assert one.pids(0, CORE)
    assert one.pids(0, WORKER)
    assert one.nodes[1].poll() is None


def test_a_killed_core_ends_the_head_and_its_worker_and_the_other_node_mourns(one: VLLM) -> None:
    one.pair()
    one.signal(0, CORE, signal.SIGKILL)
    assert one.nodes[0].wait(20) == 0
    until(lambda: not one.pids(0, WORKER))
    until(lambda: 'Failed to check the "should dump" flag on TCPStore' in one.said(1))
    assert one.nodes[1].poll() is None


def test_a_step_that_takes_too_long_ends_the_engine(tmp_path: Path) -> None:
    one = VLLM(tmp_path, VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS="2")
    try:
        one.pair()
        one.signal(1, WORKER, signal.SIGSTOP)
        assert one.ask("/health")[0] == 200
        assert one.chat()[0] == 500
        assert "TimeoutError: RPC call" in one.said()
        assert one.nodes[0].wait(20) == 0
        assert one.nodes[1].poll() is None
    finally:
        one.end()


def test_sigterm_ends_the_head_and_a_further_node_by_itself(one: VLLM) -> None:
    one.pair()
    one.nodes[0].terminate()
    assert one.nodes[0].wait(20) == 0
    assert one.nodes[1].poll() is None
    one.nodes[1].terminate()
    assert one.nodes[1].wait(20) == 0
