# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIMULATED: as much of the Docker Engine API as the modules ask, on a unix socket."""

from __future__ import annotations

import contextlib
import http.server
import json
import socketserver
import threading
from pathlib import Path
from typing import Any, Callable, Iterator


class Engine:
    """What the engine answers, and what it was told."""

    def __init__(self) -> None:
        self.info: dict[str, Any] = {"DefaultRuntime": "runc", "Runtimes": {"runc": {}}, "Swarm": {}}
        self.answers: dict[tuple[str, str], Any] = {("GET", "/containers/json"): [], ("GET", "/networks"): []}
        self.told: list[tuple[str, str, Any]] = []
        self.logins: list[str] = []
        self.on: dict[tuple[str, str], Callable[[Any], None]] = {}

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        if method != "GET":
            self.told.append((method, target, body))
        key = (method, target.split("?")[0])
        if key in self.on:
            self.on[key](body)
        value = self.info if key == ("GET", "/info") else self.answers.get(key, {} if method != "GET" else None)
        value = self.answers.get((method, target), value)  # of one query alone
        if isinstance(value, tuple):
            return value
        return (200, value) if value is not None else (404, {"message": f"no {target} is known"})


@contextlib.contextmanager
def listening(engine: Engine, path: Path) -> Iterator[str]:
    """Let the engine listen."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def respond(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            if len(raw) < length:  # its client has gone: what it sent is none of the engine's images
                return
            of_tar = self.headers.get("Content-Type") == "application/x-tar"
            body = raw if of_tar else json.loads(raw) if length else None
            engine.logins.append(self.headers.get("X-Registry-Auth", ""))
            status, value = engine.answer(self.command, self.path, body)
            text = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def address_string(self) -> str:
            return "socket"

        def log_message(self, *_words: object) -> None:
            pass

    for method in ("GET", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.respond)
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield str(path)
        server.shutdown()
