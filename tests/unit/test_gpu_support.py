# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the faults on real GPUs go by is right: which request counts as served, what times mean, what the table says."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Iterator

import pytest

from tests.gpu import cases, client, faults, model, namespaces, table

ERROR = {"error": {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "code": 500}}


def piece(text: str = "", finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": finish}]}


USAGE = {"choices": [], "usage": {"completion_tokens": 3}}
WHOLE = [piece("a"), piece("b"), piece("", "length"), USAGE]


class Server(BaseHTTPRequestHandler):
    """Answers what a test says, as vLLM was seen to."""

    answer: ClassVar[tuple[int, list[dict[str, Any]], bool]] = (200, [], True)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, events, done = self.answer
        self.send_response(status)
        self.end_headers()
        if status != 200:
            self.wfile.write(json.dumps(events[0]).encode())
            return
        lines = [json.dumps(event) for event in events] + (["[DONE]"] if done else [])
        self.wfile.write("".join(f"data: {line}\n\n" for line in lines).encode())

    def log_message(self, format: str, *_arguments: object) -> None:
        """It is quiet."""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(namespaces, "enter", lambda *_arguments: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "events", "done", "end"),
    [
        (200, WHOLE, True, "served"),
        (200, [piece("a"), ERROR], True, "an error event: EngineCore encountered an issue."),
        (200, [piece("a"), piece("", "abort")], True, "abort"),
        (200, [piece("a"), piece("b")], False, "cut"),
        (200, [piece("a"), piece("", "stop"), ERROR], True, "an error event: EngineCore encountered an issue."),
        (500, [ERROR], True, "HTTP 500: EngineCore encountered an issue."),
    ],
)
def test_a_request_is_served_by_a_whole_answer_alone(
    address: str, monkeypatch: pytest.MonkeyPatch, status: int, events: list[dict[str, Any]], done: bool, end: str
) -> None:
    monkeypatch.setattr(Server, "answer", (status, events, done))
    request = client.Request(os.getpid(), address, client.body("m", 3))
    request.run()
    assert request.end == end
    assert request.done == (done and status == 200)


def test_a_plain_request_that_was_aborted_is_not_served(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As vLLM answers it at SIGTERM: with status 200, and the text so far."""
    request = client.Request(os.getpid(), address, client.body("m", 3), stream=False)
    half = {"choices": [{"message": {"content": "half"}, "finish_reason": "abort"}], "usage": {"completion_tokens": 1}}
    monkeypatch.setattr(Server, "do_POST", lambda self: answer_plainly(self, half))
    request.run()
    assert (request.end, request.tokens) == ("abort", 1)


def answer_plainly(server: BaseHTTPRequestHandler, said: dict[str, Any]) -> None:
    server.rfile.read(int(server.headers["Content-Length"]))
    server.send_response(200)
    server.end_headers()
    server.wfile.write(json.dumps(said).encode())


def test_a_load_counts_what_was_served_and_what_was_not(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "answer", (200, WHOLE, True))
    found = client.measure(os.getpid(), address, "m", client.Load(prompt=4, answer=3, at_once=2, requests=4))
    assert (found["served"], found["not_served"]) == (4, 0)
    assert found["ttft_ms"]["p50"] > 0
    assert client.measure(os.getpid(), address, "m", client.Load(4, 99, 2, 4))["not_served"] == 4, "of 99, 3 came"


def test_the_tokenizer_has_every_part_of_its_merges() -> None:
    found = model.tokenizer()["model"]
    for merge in found["merges"]:
        one, other = merge.split(" ")
        assert {one, other, one + other} <= set(found["vocab"])
    assert sorted(found["vocab"].values()) == list(range(len(found["vocab"])))


def test_a_model_is_of_the_size_that_was_asked_for(tmp_path: Path) -> None:
    told = model.write(tmp_path / "model", 4, 1024, "bfloat16")
    assert told == json.loads((tmp_path / "model" / "config.json").read_text())
    assert (told["num_hidden_layers"], told["num_attention_heads"], told["num_key_value_heads"]) == (4, 16, 8)


def test_the_longest_faults_come_first() -> None:
    taken = faults.chosen([])
    assert len(taken) == len(cases.CASES)
    assert taken[-1].about_s == max(case.about_s for case in cases.CASES)
    assert [case.name for case in faults.chosen(["cable out for"])] == ["cable out for 6 s"]


def test_every_case_has_a_name_of_its_own() -> None:
    assert len({case.name for case in cases.CASES}) == len(cases.CASES)


def test_a_process_is_no_other_of_its_number() -> None:
    own = faults.Process(os.getpid(), "1")
    assert not own.lives
    assert own._replace(born=faults.cluster.about(os.getpid())[3]).lives


def test_what_was_left_is_a_problem(tmp_path: Path) -> None:
    report = faults.Report(tmp_path / "result.json", {}, [500])
    assert report.problems() == []
    report.set("gpu_mib_after", [4500])
    assert report.problems() == ["a GPU holds 4500 MiB, and held 500"]
    report.add("cases", {"case": "SIGKILL", "problems": ["the stream request counts as served"]})
    assert "SIGKILL: the stream request counts as served" in report.problems()


def test_a_row_tells_what_was_seen() -> None:
    row = {
        "case": "SIGKILL to leader core",
        "stream": {"end": "an error event: EngineCore", "end_s": 0.06},
        "plain": {"end": "HTTP 500: EngineCore", "end_s": None},
        "health": [[-0.2, "200"], [1.3, "503"]],
        "noticed_s": 2.04,
        "gone_s": {"leader": 4.4, "node 1": 2.3},
        "back_s": 61.3,
        "last_end": "the engine ended (exit status 0)",
        "problems": [],
        "alone": "node 1 stays",
    }
    assert table.case(row) == (
        "| SIGKILL to leader core | an error event, 0.1 s | runs on | 200; 503 at 1.3 s | 2.0 s | 4.4 s, 2.3 s | 61 s "
        "| the engine ended (exit status 0) | node 1 stays |"
    )
