# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes that come from the network as a sign of life: of a program that writes nothing, and of nobody else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, NamedTuple

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import received
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.child import LEAST_RECEIVED, run_while_moving
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.received import Received

#: takes what comes as Python and Rust do, and forgets it; `rchar` of /proc/PID/io does not move
TAKES = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    while connection.recv(1 << 16):
        pass
"""
STALL = 2.0


class Server(NamedTuple):
    """``met``: set once a client is there."""

    port: int
    met: threading.Event


@contextmanager
def server(bytes_per_second: float, seconds: float, then_silent: bool = False) -> Iterator[Server]:
    """Sends to everybody for some seconds, then ends the connection, or says nothing more."""
    done, met = threading.Event(), threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            end = time.monotonic() + seconds
            while time.monotonic() < end and not done.wait(0.05):
                connection.sendall(bytes(int(bytes_per_second * 0.05)))
            if then_silent:
                done.wait()

    def accept() -> None:
        while not done.is_set():
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            met.set()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield Server(listener.getsockname()[1], met)
        finally:
            done.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def taken(there: Server, program: str = TAKES) -> int | None:
    """Run a program that takes what a server sends. On a busy machine its start may take long, and counts as moving."""

    def moved() -> float:
        return 1 if there.met.is_set() else time.monotonic()

    return run_while_moving([sys.executable, "-c", program, str(there.port)], {}, moved, STALL, every=0.1)[0]


def test_a_program_that_receives_is_left_alone_though_nothing_reaches_the_disk() -> None:
    began = time.monotonic()
    with server(LEAST_RECEIVED * 10, 2 * STALL) as there:
        assert taken(there) == 0
    assert time.monotonic() - began > 2 * STALL


def test_a_program_that_receives_no_more_is_ended() -> None:
    with server(LEAST_RECEIVED * 10, 0.5, then_silent=True) as there:
        assert taken(there) is None


def test_what_only_trickles_is_no_sign_of_life() -> None:
    """As from a program that tries to connect again and again."""
    with server(LEAST_RECEIVED / 5, 60) as there:
        assert taken(there) is None


def test_what_others_receive_is_no_sign_of_life() -> None:
    """An image that is pulled beside does not hide that this program hangs."""
    with server(LEAST_RECEIVED * 50, 60) as busy, server(0, 0, then_silent=True) as silent:
        other = subprocess.Popen([sys.executable, "-c", TAKES, str(busy.port)])
        try:
            assert taken(silent) is None
        finally:
            other.kill()
            other.wait()


def test_what_its_children_receive_counts() -> None:
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {TAKES!r}, sys.argv[1]], check=True)"
    with server(LEAST_RECEIVED * 10, 2 * STALL) as there:
        assert taken(there, nested) == 0


def test_bytes_are_counted_once_each() -> None:
    count = Received(os.getpid())
    one, other = socket.socketpair()
    with one, other, socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as sending:
            receiving = listener.accept()[0]
            before = count.count()
            sending.sendall(bytes(50_000))
            end = time.monotonic() + 10
            while count.count() - before < 50_000 and time.monotonic() < end:
                time.sleep(0.01)
            assert count.count() - before == 50_000
            receiving.close()
        assert count.count() - before == 50_000, "a connection that has ended takes nothing back"


def test_a_kernel_that_does_not_tell_leaves_the_interfaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none(_family: int) -> Iterator[tuple[int, int]]:
        raise OSError(2, "No such file or directory")

    (tmp_path / "eth0" / "statistics").mkdir(parents=True)
    (tmp_path / "eth0" / "statistics" / "rx_bytes").write_text("1234\n")
    assert received.of_interfaces(tmp_path) == 1234
    monkeypatch.setattr(received, "connections", none)
    monkeypatch.setattr(received, "of_interfaces", lambda: 77)
    assert Received(os.getpid()).count() == 77
