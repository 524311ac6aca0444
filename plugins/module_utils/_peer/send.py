# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is private to the collection: it may change at any time.
"""What sshd runs for a copy's key on the Spark that is copied from: `cat`, of the files of one directory alone.

Each line of standard input asks for one file: `HASH OFFSET`, which is its name in the directory. The answer is a line
`SIZE GROWN` and the file's bytes from OFFSET on. SIZE is -1 while the file is not there; GROWN, the bytes of what is
being downloaded beside it, then tells that waiting makes sense. Nothing else can be asked for.

A first line `PLAIN PORT TOKEN` has the files' bytes, and these alone, sent over a connection of their own to the asking
Spark, which ssh does not encrypt. The token, which ssh did, tells that Spark who connects.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import typing as t
from pathlib import Path

REQUEST = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) ([0-9]{1,15})\n")
PLAIN = re.compile(rb"PLAIN ([0-9]{1,5}) ([0-9a-f]{32})\n")
_PIECE = 1 << 20


def grown(folder: Path) -> int:
    """Return the bytes of what is being downloaded."""
    total = 0
    for path in folder.glob("*.incomplete"):
        try:
            total += path.stat().st_size
        except OSError:  # just done
            continue
    return total


def plain_way(port: int, token: bytes) -> int:
    """Connect to the Spark that asks, the only one that may be connected to; returns the connection."""
    way = socket.create_connection((os.environ["SSH_CONNECTION"].split()[0], port), timeout=20)
    way.settimeout(None)
    way.sendall(token)
    return way.detach()


def send(folder: Path, asked: t.BinaryIO, told: int) -> int:
    """Answer until nothing more is asked; returns the exit status."""
    sent: set[str] = set()
    way = told
    for line in asked:
        plain = PLAIN.fullmatch(line)
        if plain and way == told:
            way = plain_way(int(plain.group(1)), plain.group(2))
            continue
        request = REQUEST.fullmatch(line)
        if request is None:
            return 2
        name, offset = request.group(1).decode(), int(request.group(2))
        try:
            # A link could lead out of the directory.
            file = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            os.write(told, b"-1 %d\n" % grown(folder))
            continue
        try:
            size = os.fstat(file).st_size
            os.write(told, b"%d 0\n" % size)
            while offset < size:
                count = os.sendfile(way, file, offset, min(_PIECE, size - offset))
                if not count:
                    return 3  # it was cut meanwhile
                offset += count
        finally:
            os.close(file)
        sent.add(name)
    for name in sent:
        give_back(folder / name)
    return 0


def give_back(path: Path) -> None:
    """Let go of the memory that holds a file's pages: on a Spark it is the GPU's too."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fdatasync(file)  # only what is on disk can be let go
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        pass  # no harm done: the kernel takes it when it needs it
    finally:
        os.close(file)


if __name__ == "__main__":
    raise SystemExit(send(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.fileno()))
