# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receivers of alerts on this machine's loopback, sound ones and others."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any, Iterator

SECRET = "s3cret-0f1e2d3c"  #: of the path of a receiver's URL
SETTINGS = {"name": "dgx-spark-trtllm", "format": "generic", "after_s": 0.5, "settle_s": 0.5}


def configure(folder: Path, url: str, **settings: Any) -> None:
    """What the plan writes on the leader."""
    (folder / "alert.json").write_text(json.dumps({**SETTINGS, **settings}))
    (folder / "alert_url").write_text(f"{url}\n")


class Receiver:
    """SIMULATED: a webhook that answers with these statuses, one after the other, the last one again and again."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.got, self.paths = list(statuses) or [200], [], []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    def next_status(self) -> int:
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    @property
    def events(self) -> list[str]:
        return [one["event"] for one in self.got]


@contextlib.contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    one = Receiver(*statuses)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            one.paths.append(self.path)
            one.headers.append(dict(self.headers))
            one.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status = one.next_status()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:  # of a redirection that was followed
            one.paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        one.url = f"http://127.0.0.1:{server.server_port}/hooks/{SECRET}?x=1"
        yield one
        server.shutdown()


@contextlib.contextmanager
def odd(kind: str) -> Iterator[str]:
    """SIMULATED: a receiver that ``hangs``, is ``slow`` (byte by byte, without an end), ``closes`` or ``refuses``."""
    if kind == "refuses":
        with socket.create_server(("127.0.0.1", 0)) as door:
            port = door.getsockname()[1]
        yield f"http://127.0.0.1:{port}/{SECRET}"
        return
    door, end, calls = socket.create_server(("127.0.0.1", 0)), threading.Event(), []

    def drip(call: socket.socket) -> None:
        with contextlib.suppress(OSError):
            call.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not end.is_set():
                call.sendall(b"x")
                time.sleep(0.05)

    def serve() -> None:
        while not end.is_set():
            try:
                call = door.accept()[0]
            except OSError:
                return
            calls.append(call)
            if kind == "closes":
                call.close()
            elif kind == "slow":
                threading.Thread(target=drip, args=[call], daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{door.getsockname()[1]}/{SECRET}"
    end.set()
    door.close()
    for call in calls:
        call.close()
