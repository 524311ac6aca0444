# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many requests run is told by the kernel's clocks of each connection, without the supervisor's own."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Iterator, Sequence

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, requests
from hypothesis import given
from hypothesis import strategies as st

API, CLIENT = "127.0.0.1:8355", "127.0.0.1:40000"


def server_end(sent_ms: int, received_ms: int, peer: str = CLIENT, received: int = 300) -> requests.Connection:
    return requests.Connection(API, peer, sent_ms, received_ms, received, (10,))


@pytest.mark.parametrize(
    ("sent_ms", "received_ms", "works"),
    [
        (0, 0, True),
        (30_000, 29_990, True),
        (600_000, 1, True),
        (5, 30_000, True),
        (1999, 30_000, True),
        (2000, 30_000, False),
        (4900, 4910, False),
        (4900, 4900, True),
    ],
    ids=[
        "it has just come",
        "a long prompt is read",
        "a request on a connection that was kept",
        "tokens flow",
        "the last token is young",
        "the answer is over",
        "it is kept for the next request",
        "the clock is too coarse to tell",
    ],
)
def test_whose_word_was_the_last(sent_ms: int, received_ms: int, works: bool) -> None:
    assert requests.running([server_end(sent_ms, received_ms)], "8355") == works


@pytest.mark.parametrize("age_ms", [0, 1999, 60_000])
def test_one_that_never_asked_anything_does_not_count(age_ms: int) -> None:
    """Both clocks of a connection begin with it."""
    assert requests.running([server_end(age_ms, age_ms, received=0)], "8355") == 0


@pytest.mark.parametrize(
    ("connections", "running"),
    [
        ([], 0),
        ([requests.Connection(CLIENT, API, 0, 0, 9, (77,))], 0),
        ([requests.Connection("127.0.0.1:83550", CLIENT, 0, 0, 9, ())], 0),
        ([requests.Connection("[::ffff:10.0.0.1]:8355", "[::ffff:10.0.0.9]:5", 0, 0, 9, ())], 1),
        ([server_end(0, 0), server_end(0, 0, "127.0.0.1:40001")], 2),
        ([server_end(0, 0), requests.Connection(CLIENT, API, 0, 0, 9, (7,))], 0),
        ([server_end(0, 0), requests.Connection(CLIENT, API, 0, 0, 9, (8,))], 1),
        ([server_end(0, 0), requests.Connection(CLIENT, "10.0.0.1:443", 0, 0, 9, (7,))], 1),
    ],
    ids=[
        "nobody",
        "the client's end",
        "another port",
        "IPv4 in IPv6",
        "two",
        "the supervisor asks for a token",
        "a stranger of this Spark asks",
        "the supervisor's connection to something else",
    ],
)
def test_which_connections_count(connections: Sequence[requests.Connection], running: int) -> None:
    assert requests.running(connections, "8355", own=[7]) == running


LINE = 'ESTAB-less 0 0 127.0.0.1:8355 127.0.0.1:4 users:(("x",pid=7,fd=3)) cubic lastsnd:9'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("Recv-Q Send-Q Local Peer\n", []),
        (LINE, []),
        (LINE.partition(" ")[2], [requests.Connection(API, "127.0.0.1:4", 9, 0, 0, (7,))]),
        ("0 0 a:1", []),
        (
            '0 3 [::1]:8355 [::1]:5 users:(("a",pid=7,fd=3),("b",pid=8,fd=3)) bytes_received:77 lastrcv:12 lastack:3',
            [requests.Connection("[::1]:8355", "[::1]:5", 0, 12, 77, (7, 8))],
        ),
    ],
    ids=["nothing", "a heading", "with a state", "no word of what came", "half a line", "two processes"],
)
def test_what_ss_prints(text: str, found: list[requests.Connection]) -> None:
    assert requests.parse(text) == found


@given(st.text())
def test_whatever_ss_prints_is_read(text: str) -> None:
    assert requests.running(requests.parse(text), "8355") >= 0


def test_the_supervisor_is_known_by_its_program(tmp_path: Path) -> None:
    for pid, words in ((7, ["python3", contract.PROGRAM, "leader"]), (8, ["python3", "x", contract.PROGRAM + "2"])):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cmdline").write_bytes(b"\0".join(word.encode() for word in words) + b"\0")
    assert requests.supervisors([7, 8, 9], tmp_path) == [7]


def test_without_ss_nothing_is_taken_for_drained() -> None:
    with pytest.raises(requests.RequestsError, match=r"port 8355 .no such program.: install iproute2"):
        requests.look(API, lambda _argv: (127, "no such program"))


# --- against the real ss and the real kernel --------------------------------------------------------------------------


class Slowly(http.server.BaseHTTPRequestHandler):
    """Answers /slow when it is told to, and all else at once; keeps the connection."""

    protocol_version = "HTTP/1.1"
    go = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.go.wait(30)
        else:
            time.sleep(0.05)  # else one tick of the kernel's clock has the question and the answer
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[str]:
    Slowly.go.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slowly) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        Slowly.go.set()
        server.shutdown()


def ss(argv: Sequence[str]) -> tuple[int, str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr if done.returncode else done.stdout


@contextlib.contextmanager
def asking(address: str, path: str) -> Iterator[socket.socket]:
    host, _colon, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        yield connection


def answered(connection: socket.socket) -> None:
    said = b""
    while not said.endswith(b"\r\n\r\nok"):
        piece = connection.recv(1000)
        assert piece, said
        said += piece


@pytest.mark.skipif(not shutil.which("ss"), reason="iproute2 is not installed here")
def test_the_real_ss_tells_a_request_from_a_connection_that_is_kept_or_new(
    api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "QUIET_MS", 300)
    assert requests.look(api, ss) == 0
    host, _colon, port = api.rpartition(":")
    with asking(api, "/slow") as slow, asking(api, "/fast") as kept, socket.create_connection((host, int(port))):
        answered(kept)
        time.sleep(0.6)
        assert requests.look(api, ss) == 1
        Slowly.go.set()
        answered(slow)
        time.sleep(0.6)
        assert requests.look(api, ss) == 0
