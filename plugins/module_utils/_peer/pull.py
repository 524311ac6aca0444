# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy files, which are named by their hashes, from another Spark: several ssh streams, each file hashed as it comes.

What came of a file before a connection broke is kept, and the rest asked for. A file gets its name when it is whole
and its hash is right. A file that the other Spark is still downloading is waited for, as long as that Spark's download
lives: that ends by itself when nothing comes any more, and starts again, by rules of its own.

This module util is private to the collection.
"""

from __future__ import annotations

import errno
import fcntl
import hmac
import os
import secrets
import select
import socket
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Callable, Sequence, cast

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile, new_hash, release_pages
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.send import SERVED

_PIECE = 1 << 20
#: Written bytes after which the disk begins: else it waits for the end of a file, and then the stream for the disk.
_TO_DISK = 64 << 20
_PIPE = getattr(fcntl, "F_SETPIPE_SZ", 1031)  # Python names it from 3.10 on
_FULL = (errno.ENOSPC, errno.EDQUOT)


class PullError(ValueError):
    """The copy cannot go on, and could not if it were tried again; the message says why."""


class BrokenError(Exception):
    """A connection ended, or no byte came over it any more."""


class WrongError(Exception):
    """A file came that is not what was asked for."""


class Peer:
    """A connection to the program ``send`` on the other Spark."""

    def __init__(self, argv: Sequence[str], stall_seconds: float, plain: str = "") -> None:
        """Connect.

        :param argv: the connecting command. :param plain: this Spark's address on which the files' bytes are awaited,
            as they are; else they come through ssh as well.
        """
        self._stall = stall_seconds
        self._child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._asked, answers = cast(BinaryIO, self._child.stdin), cast(BinaryIO, self._child.stdout)
        self._answers = answers.fileno()
        with suppress(OSError):  # fewer, larger pieces
            fcntl.fcntl(self._answers, _PIPE, _PIECE)
        self._plain: socket.socket | None = None
        self._data = self._answers
        if plain:
            self._plain = self._await(plain)
            self._data = self._plain.fileno()

    def _await(self, address: str) -> socket.socket:
        """Let the other Spark connect, and no other program."""
        token, deadline = secrets.token_hex(16).encode(), time.monotonic() + min(self._stall, 30)
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as listener:
            listener.bind((address, 0))
            listener.listen(8)
            self._ask(b"PLAIN %d %s\n" % (listener.getsockname()[1], token))
            while time.monotonic() < deadline and self._child.poll() is None:
                listener.settimeout(0.5)
                try:
                    connection, _address = listener.accept()
                except socket.timeout:
                    continue
                connection.settimeout(5)
                with suppress(OSError):
                    if hmac.compare_digest(connection.recv(len(token), socket.MSG_WAITALL), token):
                        connection.settimeout(None)
                        return connection
                connection.close()
        raise BrokenError(f"the other Spark did not connect to {address}: {self._why()}")

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_exc: object) -> None:
        with suppress(OSError):
            self._asked.close()
        if self._plain:
            self._plain.close()
        self._child.kill()
        self._child.wait()
        for stream in filter(None, (self._child.stdout, self._child.stderr)):
            stream.close()

    def ask(self, name: str, offset: int) -> tuple[int, int]:
        """Return the size of a file whose bytes come next, or less than 0 and the bytes of files on their way there.

        -2 where the other Spark's download lives.
        """
        self._ask(f"{name} {offset}\n".encode())
        size, grown = self._line().split()
        return int(size), int(grown)

    def _line(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n"):
            one = bytearray(1)
            self._read(self._answers, memoryview(one))
            line += one
        return bytes(line)

    def be_served(self) -> None:
        """Have the program that listens in the directory answer from now on."""
        self._ask(SERVED)
        if self._line() != b"0 0\n":
            raise BrokenError("the other Spark serves nothing there")

    def read_into(self, piece: memoryview) -> int:
        """Read some of a file's bytes, at least one."""
        return self._read(self._data, piece)

    def _ask(self, line: bytes) -> None:
        try:
            self._asked.write(line)
            self._asked.flush()
        except OSError as exc:
            raise BrokenError(self._why()) from exc

    def _read(self, stream: int, piece: memoryview) -> int:
        poll = select.poll()
        poll.register(stream, select.POLLIN)
        if not poll.poll(self._stall * 1000):
            raise BrokenError(f"nothing came for {self._stall:.0f} s")
        count = os.readv(stream, [piece])
        if not count:
            raise BrokenError(self._why())
        return count

    def _why(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(5)
        if self._child.poll() is None:
            return "ssh closed the connection"
        said = cast(BinaryIO, self._child.stderr).read().decode(errors="replace").strip()
        return f"ssh ended with {self._child.returncode} ({said[-300:] or 'no message'})"


class Pull:
    """Files on their way."""

    def __init__(
        self,
        connect: Callable[[], Peer],
        files: Sequence[HashedFile],
        target: Path,
        partial: Path,
        on_whole: Callable[[HashedFile, Path], None],
        stall_seconds: float = 120,
    ) -> None:
        """Prepare to take files.

        :param target: the directory where they get their names.
        :param partial: where they are until they are whole, on the same file system.
        :param on_whole: called for each.
        """
        self._connect, self._target, self._partial = connect, target, partial
        self._on_whole, self._stall = on_whole, stall_seconds
        self._waiting = deque(sorted({file.blob: file for file in files}.values(), key=lambda file: -file.size))
        self._lock = threading.Lock()
        self._answered = threading.Event()  # by the other Spark, over the first connection
        self._sign_of_life = time.monotonic()
        self._grown = -1
        self._broken: list[str] = []
        self._wrong: list[str] = []
        self._final: Exception | None = None
        self.moved = 0  # bytes that came
        self.seconds = {"receive": 0.0, "hash": 0.0, "write": 0.0}  # of all streams together

    def run(self, streams: int) -> str:
        """Take what can be had. Returns why it is not all, or nothing."""
        self._target.mkdir(parents=True, exist_ok=True)
        self._partial.mkdir(parents=True, exist_ok=True)
        threads = [threading.Thread(target=self._stream) for _number in range(min(streams, len(self._waiting)))]
        # One goes first: each login that fails counts, and an sshd turns an address away for a while that has some.
        for thread in threads[:1]:
            thread.start()
            while thread.is_alive() and not self._answered.wait(0.02):
                pass
        if self._broken or self._final is not None:
            del threads[1:]
        for thread in threads[1:]:
            thread.start()
        for thread in threads:
            thread.join()
        if self._final is not None:
            raise self._final
        return "; ".join((self._broken or self._wrong)[:1])

    def _stream(self) -> None:
        while not self._connection():
            pass

    def _connection(self) -> bool:
        """Take files over one connection. Returns whether that was all."""
        file = None
        try:
            with self._connect() as peer:
                while True:
                    file = self._next()
                    if file is None:
                        return True
                    if not self._take(peer, file):
                        with self._lock:
                            self._waiting.append(file)
                        time.sleep(0.5)
        except WrongError as exc:
            self._wrong.append(str(exc))
            return False  # the others may be right
        except BrokenError as exc:
            self._broken.append(str(exc))
        except OSError as exc:
            if exc.errno in _FULL and file is not None:
                # What is there of it is of no use where it fills the disk of others.
                (self._partial / file.blob).unlink()
                self._final = PullError(f"the disk is full: {self._partial} takes no more of {file.path}")
            else:
                self._final = exc
        except Exception as exc:
            self._final = exc
        return True

    def _next(self) -> HashedFile | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting and not self._broken and self._final is None else None

    def _take(self, peer: Peer, file: HashedFile) -> bool:
        """Take one file; returns whether it was there to be taken."""
        part = self._partial / file.blob
        with part.open("ab+", buffering=0) as stream:
            offset = stream.tell()
            if offset > file.size:
                stream.truncate(0)
                offset = 0
            size, grown = peer.ask(file.blob, offset)
            self._answered.set()
            if size < 0:
                self._wait(size == -2, grown, file)
                return False
            if size != file.size:
                raise WrongError(f"{file.path} has {size} bytes there instead of {file.size}")
            digest = new_hash(file)
            piece = memoryview(bytearray(_PIECE))
            stream.seek(0)
            for _piece in range(-(-offset // _PIECE)):
                digest.update(piece[: stream.readinto(piece)])
            self._receive(peer, file.size - offset, piece, stream, digest)
            os.fdatasync(stream.fileno())
        if digest.hexdigest() != file.blob:
            part.unlink()
            raise WrongError(f"{file.path} came wrong: its hash is {digest.hexdigest()} instead of {file.blob}")
        whole = self._target / file.blob
        part.replace(whole)
        release_pages(whole)
        with self._lock:
            self._sign_of_life = time.monotonic()
            self._on_whole(file, whole)
        return True

    def _receive(self, peer: Peer, left: int, piece: memoryview, stream: BinaryIO, digest: Any) -> None:
        spent, now = dict.fromkeys(self.seconds, 0.0), time.monotonic()
        begun = stream.tell()

        def lap(what: str) -> None:
            nonlocal now
            then, now = now, time.monotonic()
            spent[what] += now - then

        try:
            while left:
                some = piece[: peer.read_into(piece[:left])]
                lap("receive")
                digest.update(some)
                lap("hash")
                written = 0
                while written < len(some):
                    written += stream.write(some[written:])
                if stream.tell() - begun >= _TO_DISK:
                    # Linux begins to write what it is told that nobody needs, and does not wait for it.
                    os.posix_fadvise(stream.fileno(), begun, stream.tell() - begun, os.POSIX_FADV_DONTNEED)
                    begun = stream.tell()
                lap("write")
                left -= len(some)
                self.moved += len(some)
        finally:
            with self._lock:
                for what, seconds in spent.items():
                    self.seconds[what] += seconds

    def _wait(self, lives: bool, grown: int, file: HashedFile) -> None:
        with self._lock:
            if lives or grown != self._grown:
                self._grown, self._sign_of_life = grown, time.monotonic()
            silent = time.monotonic() - self._sign_of_life
        if silent > self._stall:
            raise PullError(f"{file.path} is not there to copy, and no download of it lived there for {silent:.0f} s")
