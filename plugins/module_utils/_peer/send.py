# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that sshd runs for a copy's key on the Spark that is copied from. It sends files of one directory alone.

Each line of standard input asks for one file: `HASH OFFSET`, where HASH is its name in the directory. The answer is a
line `SIZE GROWN` and the file's bytes from OFFSET on. SIZE is -1 while the file is not there; GROWN, the bytes of what
is being downloaded beside it, then tells that waiting makes sense. SIZE is -2 instead while a process here brings the
model: then waiting makes sense whatever has grown. Nothing else can be asked for.

A first line `PLAIN PORT TOKEN` has the files' bytes, and these alone, sent over a connection of their own to the asking
Spark, which ssh does not encrypt. The token, which ssh did encrypt, tells that Spark who connects.

A line `SERVED` hands the connection over to a program that listens in the directory, such as the one that serves an
image out of what only root may read. That program answers by the same rules, the first time `0 0`.

What is written to the leader is this file, a function that releases a file's pages, and the call of ``main``.
This module util is private to the collection.
"""

from __future__ import annotations

import array
import fcntl
import os
import re
import socket
import sys
import time
from pathlib import Path
from typing import BinaryIO, Callable, Sequence

REQUEST = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) ([0-9]{1,15})\n")
PLAIN = re.compile(rb"PLAIN ([0-9]{1,5}) ([0-9a-f]{32})\n")
SERVED = b"SERVED\n"
SOCKET = "served"  # in the directory
PIECE = 1 << 20


def grown(folder: Path) -> int:
    """Return the bytes of the files that are being downloaded."""
    total = 0
    for path in folder.glob("*.incomplete"):
        try:
            total += path.stat().st_size
        except OSError:  # its download has just ended
            continue
    return total


def is_brought(folder: Path) -> bool:
    """Whether a process holds the lock of the model whose files a directory of a Hugging Face cache has."""
    lock = folder.parent.parent.parent / ".dgx-spark" / (folder.parent.name + ".lock")
    try:
        file = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # no such cache, or nothing was brought yet
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(file)
    return False


def plain_connection(port: int, token: bytes) -> int:
    """Connect to the Spark that asks, the only one that may be connected to; return the connection."""
    connection = socket.create_connection((os.environ["SSH_CONNECTION"].split()[0], port), timeout=20)
    connection.settimeout(None)
    connection.sendall(token)
    return connection.detach()


def hand_over(folder: Path, connection: Sequence[int], seconds: float = 20) -> int:
    """Give the connection to the program that listens in the directory, and wait for its end; return the exit status.

    :param connection: file descriptors: what is asked, answers, data. :param seconds: to wait for that program.
    """
    deadline = time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX) as program:
        while True:
            try:
                program.connect(str(folder / SOCKET))
                break
            except OSError as exc:  # it is about to begin
                if time.monotonic() > deadline:
                    sys.stderr.write(f"nothing is served in {folder}: {exc.strerror}\n")
                    return 4
                time.sleep(0.1)
        program.sendmsg([b"\1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", connection))])
        program.recv(1)
    return 0


def send(folder: Path, asked: BinaryIO, answers: int, release: Callable[[Path], None]) -> int:
    """Answer until nothing more is asked; return the exit status.

    :param release: called at the end for each file that was sent.
    """
    sent: set[str] = set()
    data = answers
    for line in asked:
        plain = PLAIN.fullmatch(line)
        if plain and data == answers:
            data = plain_connection(int(plain.group(1)), plain.group(2))
            continue
        if line == SERVED:
            return hand_over(folder, [asked.fileno(), answers, data])
        request = REQUEST.fullmatch(line)
        if request is None:
            return 2
        name, offset = request.group(1).decode(), int(request.group(2))
        try:
            # A link could lead out of the directory.
            file = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            os.write(answers, b"%d %d\n" % (-2 if is_brought(folder) else -1, grown(folder)))
            continue
        try:
            size = os.fstat(file).st_size
            os.write(answers, b"%d 0\n" % size)
            while offset < size:
                count = os.sendfile(data, file, offset, min(PIECE, size - offset))
                if not count:
                    return 3  # the file was cut meanwhile
                offset += count
        finally:
            os.close(file)
        sent.add(name)
    for name in sent:
        release(folder / name)
    return 0


def main(release: Callable[[Path], None]) -> int:
    """Send the files of the directory that the command line names."""
    return send(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.fileno(), release)
