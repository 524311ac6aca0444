# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ready is health, a name and a token."""

from __future__ import annotations

import contextlib
import http.server
import threading
from typing import Iterator

import pytest
from supervisor import probe

CHAT, NOTHING = "/v1/chat/completions", b'{"usage": {"completion_tokens": 0}}'
READY = {
    "/health": (200, b""),
    "/v1/models": (200, b'{"data": [{"id": "tiny-chat"}]}'),
    CHAT: (200, b'{"usage": {"completion_tokens": 1}}'),
    "/v1/completions": (200, b'{"usage": {"completion_tokens": 1}}'),
}


@contextlib.contextmanager
def server(answers: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    """SIMULATED: a server that has these answers, by path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, text = answers[self.path]
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as one:
        threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"127.0.0.1:{one.server_port}"
        one.shutdown()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({}, ("tiny-chat", CHAT, None)),
        ({"/health": (503, b"")}, ("", CHAT, "OSError: /health answers 503 Service Unavailable")),
        ({"/v1/models": (200, b"{}")}, ("", CHAT, "KeyError: 'data'")),
        ({CHAT: (200, NOTHING)}, ("tiny-chat", CHAT, "an answer without a token")),
        ({CHAT: (400, b"No chat template found")}, ("tiny-chat", "/v1/completions", None)),
        ({CHAT: (400, b"no vocab")}, ("tiny-chat", CHAT, f"RefusedError: {CHAT} answers 400 Bad Request: no vocab")),
        ({CHAT: (500, b"")}, ("tiny-chat", CHAT, f"OSError: {CHAT} answers 500 Internal Server Error")),
        (
            {CHAT: (400, b"No chat template found"), "/v1/completions": (400, b"{}")},
            ("tiny-chat", "/v1/completions", "RefusedError: /v1/completions answers 400 Bad Request: {}"),
        ),
    ],
)
def test_ready_is_health_a_name_and_a_token(wrong: dict, told: tuple) -> None:
    with server({**READY, **wrong}) as address:
        assert probe.token(address, timeout=5) == told


def test_a_model_that_does_not_chat_is_not_asked_to_again() -> None:
    with server({name: answer for name, answer in READY.items() if name != CHAT}) as address:
        assert probe.token(address, 5, "/v1/completions").problem is None
    with server({**READY, CHAT: (400, b"No chat template found")}) as address:
        assert "No chat template" in probe.token(address, 5, CHAT).problem, "nor does one that did stop"
