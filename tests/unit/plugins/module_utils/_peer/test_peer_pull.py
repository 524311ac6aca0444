# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on their way from one directory to another, by the real sender, with connections that break."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile, release_pages
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer import pull as peer_pull
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer import send as peer_send
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.access import program
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.counters import bound_by
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.pull import (
    BrokenError,
    Peer,
    Pull,
    PullError,
)
from hypothesis import given, settings
from hypothesis import strategies as st

CONTENTS = [b"", b"small", bytes(range(256)) * 9000, b"x" * 1048576, b"y" * 1500000]
FILES = [HashedFile(f"file-{len(one)}", len(one), sha256=hashlib.sha256(one).hexdigest()) for one in CONTENTS]


class Wires:
    """Connections to a sender, the first of which break after some bytes."""

    def __init__(self, source: Path, breaks: list[int], plain: str = "") -> None:
        self.breaks, self.plain = list(breaks), plain
        self.argv = [sys.executable, "-c", program(), str(source)]

    def __call__(self) -> Peer:
        peer, after = Peer(self.argv, 20, self.plain), self.breaks.pop(0) if self.breaks else 1 << 40
        read = peer.read_into

        def cut(piece: memoryview) -> int:
            nonlocal after
            if after <= 0:
                raise BrokenError("cut")
            count = read(piece[:after])
            after -= count
            return count

        peer.read_into = cut
        return peer


def folders(here: Path) -> tuple[Path, Path, Path]:
    source = here / "source"
    source.mkdir()
    for file, content in zip(FILES, CONTENTS):
        (source / file.blob).write_bytes(content)
    return source, here / "target", here / "partial"


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 2_000_000), max_size=4), st.integers(1, 3), st.sampled_from(["", "127.0.0.1"]))
def test_whatever_breaks_all_comes_once(breaks: list[int], streams: int, plain: str) -> None:
    with tempfile.TemporaryDirectory() as here, pytest.MonkeyPatch.context() as patched:
        patched.setenv("SSH_CONNECTION", "127.0.0.1 40000 127.0.0.1 22")
        source, target, partial = folders(Path(here))
        wires, whole, moved = Wires(source, breaks, plain), [], 0
        for _round in range(len(breaks) + 1):
            lacking = [file for file in FILES if file.path not in whole]
            pull = Pull(wires, lacking, target, partial, lambda file, _path: whole.append(file.path), 20)
            reason = pull.run(streams)
            moved += pull.moved
            if not reason:
                break
        assert sorted(whole) == sorted(file.path for file in FILES)
        assert {path.name: path.read_bytes() for path in target.iterdir()} == {
            file.blob: content for file, content in zip(FILES, CONTENTS)
        }
        assert list(partial.iterdir()) == []
        assert moved == sum(map(len, CONTENTS)), "what came before a connection broke is not sent again"


def test_the_disk_begins_before_a_file_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every stream waits for the disk at the end of its file, and the disk for the streams before that."""
    source, target, partial = folders(tmp_path)
    told: list[tuple[int, int]] = []
    begin = os.posix_fadvise

    def noted(file: int, offset: int, length: int, advice: int) -> None:
        told.append((offset, length))
        begin(file, offset, length, advice)

    monkeypatch.setattr(peer_pull, "_TO_DISK", 1 << 19)
    monkeypatch.setattr(os, "posix_fadvise", noted)
    long = [file for file in FILES if file.size == 9000 * 256]
    assert Pull(Wires(source, []), long, target, partial, lambda *_about: None).run(1) == ""
    *early, at_the_end = told
    assert early
    assert [offset for offset, _length in early] == [sum(length for _o, length in early[:n]) for n in range(len(early))]
    assert min(length for _offset, length in early) >= 1 << 19
    assert at_the_end == (0, 0), "all of it is released"


def test_who_does_not_know_the_token_is_not_listened_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that guesses, and one that says nothing, before the sender's own."""
    source, target, partial = folders(tmp_path)
    guess = (
        "import os, re, socket, subprocess, sys\n"
        "line = sys.stdin.buffer.raw.readline()\n"
        "port = int(line.split()[1])\n"
        "with socket.create_connection(('127.0.0.1', port)) as one:\n"
        "    one.sendall(b'0' * 32 + b'something else')\n"
        "socket.create_connection(('127.0.0.1', port)).close()\n"
        "os.environ['SSH_CONNECTION'] = '127.0.0.1 1 127.0.0.1 22'\n"
        f"sender = [sys.executable, '-c', {program()!r}, {str(source)!r}]\n"
        "child = subprocess.Popen(sender, stdin=subprocess.PIPE)\n"
        "child.stdin.write(line)\n"
        "child.stdin.flush()\n"
        "for line in iter(sys.stdin.buffer.raw.readline, b''):\n"
        "    child.stdin.write(line)\n"
        "    child.stdin.flush()\n"
    )
    argv = [sys.executable, "-c", guess]
    assert Pull(lambda: Peer(argv, 20, "127.0.0.1"), FILES, target, partial, lambda *_about: None).run(1) == ""
    assert sorted(path.name for path in target.iterdir()) == sorted(file.blob for file in FILES)


def test_nobody_connects(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit('Connection refused')"]
    pull = Pull(lambda: Peer(argv, 20, "127.0.0.1"), FILES[:1], tmp_path / "a", tmp_path / "b", lambda *_about: None)
    assert pull.run(1) == "the other Spark did not connect to 127.0.0.1: ssh ended with 1 (Connection refused)"


def test_a_login_that_fails_is_tried_over_one_connection(tmp_path: Path) -> None:
    """Each counts: an sshd turns an address away for a while that has some."""
    tries = []

    def connect() -> Peer:
        tries.append(1)
        return Peer(["sh", "-c", "echo 'nvidia@10.0.0.1: Permission denied (publickey).' >&2; exit 255"], 20)

    said = Pull(connect, FILES, tmp_path / "target", tmp_path / "partial", lambda *_whole: None, 20).run(4)
    assert "Permission denied" in said
    assert len(tries) == 1


def test_all_streams_are_used_once_the_first_is_answered(tmp_path: Path) -> None:
    source, target, partial = folders(tmp_path)
    wires, tries = Wires(source, []), []

    def connect() -> Peer:
        tries.append(1)
        return wires()

    assert Pull(connect, FILES, target, partial, lambda *_whole: None, 20).run(3) == ""
    assert len(tries) == 3


def test_what_came_wrong_is_not_kept(tmp_path: Path) -> None:
    source, target, partial = folders(tmp_path)
    spoilt = FILES[2]
    (source / spoilt.blob).write_bytes(b"z" * spoilt.size)
    pull = Pull(Wires(source, []), [spoilt], target, partial, lambda *_about: None)
    assert f"{spoilt.path} came wrong: its hash is" in pull.run(1)
    assert [*target.iterdir(), *partial.iterdir()] == []
    partial.joinpath(spoilt.blob).write_bytes(b"of another file")
    (source / spoilt.blob).write_bytes(CONTENTS[2])
    assert "came wrong" in Pull(Wires(source, []), [spoilt], target, partial, lambda *_about: None).run(1)
    assert Pull(Wires(source, []), [spoilt], target, partial, lambda *_about: None).run(1) == ""
    assert (target / spoilt.blob).read_bytes() == CONTENTS[2]


def test_a_file_that_is_still_downloaded_is_waited_for(tmp_path: Path) -> None:
    source, target, partial = folders(tmp_path)
    late = source / FILES[4].blob
    late.rename(tmp_path / "late")
    timer = threading.Timer(1, lambda: (tmp_path / "late").rename(late))
    timer.start()
    assert Pull(Wires(source, []), FILES, target, partial, lambda *_about: None, 20).run(2) == ""
    timer.join()
    assert sorted(path.name for path in target.iterdir()) == sorted(file.blob for file in FILES)


def test_a_file_that_nobody_downloads_is_named(tmp_path: Path) -> None:
    source, target, partial = folders(tmp_path)
    (source / FILES[4].blob).unlink()
    with pytest.raises(PullError, match="file-1500000 is not there to copy"):
        Pull(Wires(source, []), FILES, target, partial, lambda *_about: None, 2).run(1)
    assert len(list(target.iterdir())) == len(FILES) - 1


@pytest.fixture
def cached(tmp_path: Path) -> tuple[Path, Path, Path, Path]:
    """A leader's cache that lacks one file, with the lock of whoever brings the model; where the files are to go."""
    blobs = tmp_path / "hf" / "hub" / "models--lab--tiny" / "blobs"
    blobs.mkdir(parents=True)
    for file, content in zip(FILES[:4], CONTENTS):
        (blobs / file.blob).write_bytes(content)
    lock = tmp_path / "hf" / ".dgx-spark" / "models--lab--tiny.lock"
    lock.parent.mkdir()
    lock.touch()
    return blobs, lock, tmp_path / "target", tmp_path / "partial"


def test_a_file_is_waited_for_as_long_as_its_download_lives(cached: tuple[Path, Path, Path, Path]) -> None:
    """Nothing of it is on the leader's disk for much longer than the stall: Xet still has it in memory."""
    blobs, lock, target, partial = cached

    def arrive() -> None:
        (blobs / FILES[4].blob).write_bytes(CONTENTS[4])

    timer = threading.Timer(2.5, arrive)
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        timer.start()
        assert Pull(Wires(blobs, []), FILES, target, partial, lambda *_about: None, 0.7).run(2) == ""
    timer.join()
    assert sorted(path.name for path in target.iterdir()) == sorted(file.blob for file in FILES)


def test_a_download_that_has_ended_is_not_waited_for(cached: tuple[Path, Path, Path, Path]) -> None:
    blobs, lock, target, partial = cached
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        timer = threading.Timer(1.5, fcntl.flock, [held, fcntl.LOCK_UN])
        timer.start()
        began = time.monotonic()
        with pytest.raises(PullError, match="no download of it lived there for"):
            Pull(Wires(blobs, []), FILES, target, partial, lambda *_about: None, 0.7).run(1)
        timer.join()
    assert time.monotonic() - began > 1.5


def test_silence_ends_a_connection(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    pull = Pull(lambda: Peer(argv, 0.3), FILES[:1], tmp_path / "a", tmp_path / "b", lambda *_about: None)
    assert pull.run(1) == "nothing came for 0 s"
    argv = [sys.executable, "-c", "import sys; sys.exit('no route')"]
    pull = Pull(lambda: Peer(argv, 20), FILES[:1], tmp_path / "a", tmp_path / "b", lambda *_about: None)
    assert pull.run(1) == "ssh ended with 1 (no route)"


@pytest.mark.parametrize("asked", [b"../../token 0\n", b"a" * 64 + b"/x 0\n", b"\n", b"a" * 64 + b" -1\n", b"g" * 64])
def test_the_sender_gives_nothing_else(tmp_path: Path, asked: bytes) -> None:
    (tmp_path / "asked").write_bytes(asked)
    with (tmp_path / "asked").open("rb") as stream, (tmp_path / "answers").open("wb") as answers:
        assert peer_send.send(tmp_path, stream, answers.fileno(), release_pages) == 2
    assert (tmp_path / "answers").read_bytes() == b""


def test_the_sender_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / ("a" * 64)).symlink_to("/etc/passwd")
    (tmp_path / "some.incomplete").write_bytes(b"123")
    (tmp_path / "asked").write_bytes(b"a" * 64 + b" 0\n")
    with (tmp_path / "asked").open("rb") as stream, (tmp_path / "answers").open("wb") as answers:
        assert peer_send.send(tmp_path, stream, answers.fileno(), release_pages) == 0
    assert (tmp_path / "answers").read_bytes() == b"-1 3\n"


@pytest.mark.parametrize(
    ("spent", "busy", "rate", "link", "says"),
    [
        ((1, 1, 1), 0.99, 9e9, 10e9, "link"),
        ((1, 1, 1), 0.99, 1e9, 10e9, "processor"),
        ((1, 2, 3), 0.1, 1e9, None, "disk"),
        ((1, 3, 2), 0.1, 1e9, 10e9, "hashing"),
        ((3, 1, 2), 0.1, 1e9, 10e9, "sender"),
    ],
)
def test_what_bound_it(spent: tuple[int, int, int], busy: float, rate: float, link: float | None, says: str) -> None:
    assert bound_by(dict(zip(("receive", "hash", "write"), spent)), busy, rate, link) == says
