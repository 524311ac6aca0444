# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection that the real sender hands over, to a process that may read more than the sender may."""

from __future__ import annotations

import array
import hashlib
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Iterator, NamedTuple

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer import send as peer_send
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer import serve
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.access import program
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.pull import BrokenError, Peer

CONTENT = bytes(range(256)) * 9000
NAME = hashlib.sha256(CONTENT).hexdigest()


class Bytes(NamedTuple):
    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def send(self, target: int, offset: int) -> None:
        left = self.content[offset:]
        while left:
            left = left[os.write(target, left) :]


def find(name: str) -> Bytes | None:
    return Bytes(CONTENT) if name == NAME else None


class Serving:
    """A server in a thread."""

    def __init__(self, folder: Path, user: int, idle_seconds: float = 60) -> None:
        self.server = serve.Server(folder, user, find)
        self.thread = threading.Thread(target=self.server.run, args=(idle_seconds,))
        self.thread.start()

    def has_ended(self, seconds: float = 10) -> bool:
        self.thread.join(seconds)
        return not self.thread.is_alive()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "served"
    (tmp_path / "served" / peer_send.SOCKET).unlink(missing_ok=True)


def connected(folder: Path, plain: str = "") -> Peer:
    return Peer([sys.executable, "-c", program(), str(folder)], 20, plain)


def came(peer: Peer, size: int) -> bytes:
    whole = bytearray(size)
    left = memoryview(whole)
    while left:
        left = left[peer.read_into(left) :]
    return bytes(whole)


@pytest.mark.parametrize("plain", ["", "127.0.0.1"])
def test_what_the_sender_may_not_read_comes_over_its_connection(
    folder: Path, monkeypatch: pytest.MonkeyPatch, plain: str
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "127.0.0.1 40000 127.0.0.1 22")
    serving = Serving(folder, os.geteuid())
    assert (folder / peer_send.SOCKET).stat().st_mode & 0o777 == 0o600
    with connected(folder, plain) as peer, connected(folder, plain) as another:
        for one in (peer, another):
            one.be_served()
        for _again in range(2):
            assert peer.ask(NAME, 0) == (len(CONTENT), 0)
            assert came(peer, len(CONTENT)) == CONTENT
        assert another.ask("0" * 64, 0) == (-1, 0)
        assert another.ask(NAME, len(CONTENT) - 3) == (len(CONTENT), 0)
        assert came(another, 3) == CONTENT[-3:]
        (folder / peer_send.SOCKET).unlink()
        assert peer.ask(NAME, len(CONTENT)) == (len(CONTENT), 0), "what was begun goes on"
    assert serving.has_ended()
    assert serving.server.problems == []


def test_it_ends_when_nobody_comes(folder: Path) -> None:
    assert Serving(folder, os.geteuid(), idle_seconds=0.1).has_ended()
    assert not (folder / peer_send.SOCKET).exists()


def test_a_later_one_takes_over(folder: Path) -> None:
    first = Serving(folder, os.geteuid())
    second = Serving(folder, os.geteuid())
    assert first.has_ended()
    with connected(folder) as peer:
        peer.be_served()
        assert peer.ask(NAME, len(CONTENT))[0] == len(CONTENT)
    (folder / peer_send.SOCKET).unlink()
    assert second.has_ended()


def test_nobody_serves(tmp_path: Path) -> None:
    short = program().replace("seconds: float = 20", "seconds: float = 0.3")
    with Peer([sys.executable, "-c", short, str(tmp_path)], 20) as peer, pytest.raises(BrokenError) as told:
        peer.be_served()
    assert f"nothing is served in {tmp_path}: No such file or directory" in str(told.value)


def test_it_may_begin_a_moment_later(folder: Path) -> None:
    with connected(folder) as peer:
        late = threading.Timer(0.5, lambda: Serving(folder, os.geteuid()))
        late.start()
        peer.be_served()
        late.join()
    (folder / peer_send.SOCKET).unlink()


def test_a_connection_that_breaks_is_told_and_harms_no_other(folder: Path) -> None:
    serving = Serving(folder, os.geteuid())
    with connected(folder) as peer:
        peer.be_served()
        peer.ask(NAME, 0)
    with connected(folder) as peer:
        peer.be_served()
        assert peer.ask(NAME, len(CONTENT))[0] == len(CONTENT)
    (folder / peer_send.SOCKET).unlink()
    assert serving.has_ended()
    assert ["Broken pipe" in one for one in serving.server.problems] == [True]


@pytest.mark.parametrize(("stranger", "files"), [(0, 3), (1, 3), (0, 2), (0, 0)])
def test_another_user_and_another_message_are_not_served(stranger: int, files: int) -> None:
    ours, theirs = socket.socketpair()
    given = [os.open("/dev/null", os.O_RDONLY) for _number in range(files)]
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", given))] if given else []
    theirs.sendmsg([b"\1"], rights)
    before = len(list(Path("/proc/self/fd").iterdir()))
    taken = serve.handed_over(ours, os.geteuid() + stranger)
    assert len(taken) == (3 if files == 3 and not stranger else 0)
    assert len(list(Path("/proc/self/fd").iterdir())) == before + len(taken), "no descriptor stays behind"
    for file in [*given, *taken]:
        os.close(file)
    ours.close()
    theirs.close()


def test_what_is_no_request_ends_the_connection(folder: Path) -> None:
    serving = Serving(folder, os.geteuid())
    with connected(folder) as peer:
        peer.be_served()
        with pytest.raises(BrokenError):
            peer.ask("../../etc/shadow", 0)
    time.sleep(0.1)
    (folder / peer_send.SOCKET).unlink()
    assert serving.has_ended()
