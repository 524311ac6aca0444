# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client that asks and keeps a server under load, against a server of this test."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import ask
from hypothesis import given
from hypothesis import strategies as st

Said = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


class Server:
    """Answers as it is told, and notes what it was asked."""

    def __init__(self) -> None:
        self.says: Said = tokens("a", " b")
        self.asked: list[dict[str, Any]] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.ended = False
                with outer.lock:
                    outer.asked.append(body)
                    outer.at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer.at_once)
                try:
                    outer.says(self, body)
                finally:
                    self.ends()

            def ends(self) -> None:
                """Count it no more; the client may send the next one as soon as it has read the last word."""
                with outer.lock:
                    outer.at_once -= not self.ended
                    self.ended = True

            def log_message(self, *_words: object) -> None:
                pass

        class Http(ThreadingHTTPServer):
            def handle_error(self, *_about: object) -> None:
                """A client that went away is nothing to tell."""

        self.http = Http(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


def event(handler: BaseHTTPRequestHandler, value: object) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    handler.wfile.write(f"data: {text}\n\n".encode())
    handler.wfile.flush()


def tokens(*pieces: str, thoughts: str = "", finish: str = "stop", pause: float = 0, done: bool = True) -> Said:
    """A server that streams these."""

    def say(handler: Any, _body: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.end_headers()
        event(handler, {"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        if thoughts:
            event(handler, {"choices": [{"delta": {"reasoning_content": thoughts}}]})
        for piece in pieces:
            time.sleep(pause)
            event(handler, {"choices": [{"delta": {"content": piece}}]})
        if done:
            event(handler, {"choices": [{"delta": {}, "finish_reason": finish}]})
            event(handler, {"choices": [], "usage": {"completion_tokens": 7}})
            handler.ends()
            event(handler, "[DONE]")

    return say


def status(code: int, text: str) -> Said:
    def say(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
        handler.send_response(code)
        handler.end_headers()
        handler.wfile.write(text.encode())

    return say


def raw(text: str) -> Said:
    def say(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.end_headers()
        event(handler, text)

    return say


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


def order(server: Server, **changes: Any) -> ask.Order:
    found: dict[str, Any] = {
        "address": server.address,
        "path": "/v1/chat/completions",
        "concurrency": 1,
        "seconds": 0,
        "gap_s": 5.0,
        "requests": [{"id": str(number), "body": {"number": number}} for number in range(3)],
        **changes,
    }
    return ask.Order(**found)  # type: ignore[typeddict-item]


def test_each_request_is_sent_once_and_in_its_order(server: Server) -> None:
    server.says = tokens("a", " b", thoughts="hm")
    found = ask.Asker(order(server)).run()
    assert [body["number"] for body in server.asked] == [0, 1, 2]
    assert [(one["id"], one["text"], one["thoughts"], one["finish"], one["tokens"]) for one in found["answers"]] == [
        (str(number), "a b", "hm", "stop", 7) for number in range(3)
    ]
    assert (found["errors"], found["count"], found["tokens"], server.most_at_once) == ([], 3, 9, 1)


@pytest.mark.parametrize(
    ("says", "error"),
    [
        (
            status(500, '{"message": "the engine is dead"}'),
            '500 Internal Server Error: {"message": "the engine is dead"}',
        ),
        (status(400, "x" * 5000), f"answers 400 Bad Request: {'x' * 300}"),
        (tokens("a", done=False), "ValueError: the answer broke off, after 1 tokens"),
        (raw("{"), "JSONDecodeError"),
        (raw("[1]"), "ValueError: an event is no object: [1]"),
        (raw('{"choices": 3}'), "TypeError"),
        (raw('{"error": {"message": "the engine is dead"}}'), "the engine is dead"),
        (raw("[DONE]"), "an answer without a token"),
        (tokens("a", "b", pause=0.8), "no token for 0.3 s, after 0 tokens"),
    ],
)
def test_an_answer_that_does_not_come_is_an_error_in_words(server: Server, says: Said, error: str) -> None:
    server.says = says
    found = ask.Asker(order(server, requests=[{"id": "it", "body": {}}], gap_s=0.3)).run()
    (answer,) = found["answers"]
    assert error in answer["error"]
    assert found["errors"] == [f"after {found['seconds']:.0f} s, it: {answer['error']}"]


def test_a_server_that_is_not_there_is_an_error(server: Server) -> None:
    found = ask.Asker(order(server, address="127.0.0.1:9", requests=[{"id": "it", "body": {}}])).run()
    assert "ConnectionRefusedError" in found["errors"][0]


def test_events_without_tokens_do_not_count_as_tokens(server: Server) -> None:
    def say(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(30):
            time.sleep(0.05)
            event(handler, {"choices": [{"delta": {}}]})

    server.says = say
    found = ask.Asker(order(server, requests=[{"id": "it", "body": {}}], gap_s=0.3)).run()
    assert "no token for 0.3 s" in found["errors"][0]


def test_a_load_goes_on_for_its_time_with_so_many_requests_at_once(server: Server) -> None:
    server.says = tokens("a", "b", pause=0.02)
    found = ask.Asker(order(server, concurrency=4, seconds=1)).run()
    assert server.most_at_once == 4
    assert found["count"] == len(server.asked) >= 4
    assert found["tokens"] == 2 * found["count"] == sum(found["per_minute"])
    assert (found["errors"], found["answers"]) == ([], [])
    assert found["seconds"] >= 1
    assert found["gap_s"] >= 0.02
    assert found["last_token_s"] > 0.5


def test_a_load_ends_at_the_first_error_and_says_when(server: Server) -> None:
    good = tokens("a")

    def say(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        (good if len(server.asked) < 10 else status(500, "gone"))(handler, body)

    server.says = say
    began = time.monotonic()
    found = ask.Asker(order(server, concurrency=2, seconds=30)).run()
    assert time.monotonic() - began < 10
    assert "gone" in found["errors"][0]
    assert found["count"] == 9


def test_as_a_program_it_writes_what_came(server: Server, tmp_path: Path) -> None:
    (tmp_path / ask.ORDER).write_text(json.dumps(order(server)))
    done = subprocess.run([sys.executable, ask.__file__, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / ask.RESULT).read_text())["count"] == 3
    server.says = status(500, "gone")
    assert (
        subprocess.run([sys.executable, ask.__file__, str(tmp_path)], capture_output=True, check=False).returncode == 1
    )


def test_it_says_how_far_it_is(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ask, "EVERY", 0.05)
    server.says = tokens("a", pause=0.4)
    ask.Asker(order(server, seconds=0.9)).run()
    ask.Asker(order(server)).run()
    said = capsys.readouterr().out
    assert "of 0.015 min, " in said
    assert "longest gap" in said
    assert re.search("question [1-3] of 3, ", said)


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b'data: {"choices": [{"text": "a"}]}\n', b"data: [DONE]\n"])))
def test_any_stream_is_read_or_refused_in_words(lines: list[bytes]) -> None:
    try:
        found = list(ask.events(iter(lines)))
    except ValueError:
        return
    assert all(isinstance(one, dict) for one in found)
