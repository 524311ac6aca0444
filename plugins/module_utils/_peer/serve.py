# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answer over connections that ``send`` hands over, from what only this process may read.

``send`` runs as the user whom a copy's key lets in, and gives away its connection by a unix socket that this user alone
may use. What is written from here goes straight to sshd, or to the other Spark.

This module util is private to the collection.
"""

from __future__ import annotations

import array
import os
import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Callable, Protocol

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.send import REQUEST, SOCKET


class Content(Protocol):
    """Bytes that can be sent."""

    @property
    def size(self) -> int:
        """How many they are."""

    def send(self, target: int, offset: int) -> None:
        """Write the bytes from an offset on to a file descriptor."""


Find = Callable[[str], "Content | None"]


class Server:
    """Who listens in a directory."""

    def __init__(self, folder: Path, user: int, find: Find) -> None:
        """Begin to listen.

        :param user: the number of the one user who may connect. :param find: returns what is asked for by its hash.
        """
        self._user, self._find, self._path = user, find, folder / SOCKET
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = folder / f"{SOCKET}.new"
        for path in (draft, self._path):
            path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(draft))
        draft.chmod(0o600)
        os.chown(draft, user, -1)
        self._listener.listen(16)
        draft.rename(self._path)
        self._number = self._path.stat().st_ino
        self._threads: list[threading.Thread] = []
        self.problems: list[str] = []

    def run(self, idle_seconds: float) -> None:
        """Serve until the socket is removed, or nobody was connected for a time; end what was begun."""
        self._listener.settimeout(0.5)
        last = time.monotonic()
        while self._is_there() and time.monotonic() - last < idle_seconds:
            with suppress(socket.timeout):
                connection, _address = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,))
                thread.start()
                self._threads.append(thread)
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            if self._threads:
                last = time.monotonic()
        if self._is_there():
            self._path.unlink()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _is_there(self) -> bool:
        """Whether the socket is this one: a later run has one of its own in this place."""
        try:
            return self._path.stat().st_ino == self._number
        except OSError:
            return False

    def _serve(self, program: socket.socket) -> None:
        given: list[int] = []
        try:
            with program:
                given = handed_over(program, self._user)
                if given:
                    answer(self._find, *given)
        except Exception as exc:  # one Spark's connection is not another's
            self.problems.append(str(exc) or type(exc).__name__)
        finally:
            for file in given:
                with suppress(OSError):
                    os.close(file)


def handed_over(program: socket.socket, user: int) -> list[int]:
    """Return the file descriptors of a connection that was handed over by a user; none where another one tries to."""
    program.settimeout(20)
    who = struct.unpack("3i", program.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[1]
    numbers = array.array("i")
    _said, about, _flags, _address = program.recvmsg(1, socket.CMSG_SPACE(3 * numbers.itemsize))
    for level, kind, content in about:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    if who != user or len(numbers) != 3:
        for number in numbers:
            os.close(number)
        return []
    return list(numbers)


def answer(find: Find, asked: int, answers: int, data: int) -> None:
    """Answer what is asked as ``send`` does, until nothing more is asked."""
    os.write(answers, b"0 0\n")
    with os.fdopen(asked, "rb", closefd=False) as lines:
        for line in lines:
            request = REQUEST.fullmatch(line)
            if request is None:
                return
            content = find(request.group(1).decode())
            os.write(answers, b"%d 0\n" % (content.size if content else -1))
            if content:
                content.send(data, int(request.group(2)))
