# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many bytes a program receives from the network: the sign that a download lives while nothing reaches the disk.

Which counter tells that was measured, with hf 2.4.0 and hf-xet 1.8.0 against a local server, on Linux 6.18, while
8 to 20 MB came slowly and nothing had reached the disk yet:

| counter | hf by Xet | hf by HTTP | hf by HTTPS | counts for others too |
| --- | --- | --- | --- | --- |
| `rchar` of /proc/PID/io | stood still | stood still | moved | no |
| `read_bytes` of /proc/PID/io | stood still | stood still | stood still | no |
| received bytes of the network interfaces | moved | moved | moved | yes: 3.4 GB of a neighbour beside 8 MB |
| received bytes of the process's TCP connections | moved | moved | moved | no |

`rchar` counts read(), by which OpenSSL takes what comes, and not recv(), by which Python and Rust do. So the kernel is
asked for the connections of the process; where it does not tell of them, the interfaces decide.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Iterator

_NETLINK_SOCK_DIAG = getattr(socket, "NETLINK_SOCK_DIAG", 4)
_BY_FAMILY, _REQUEST_DUMP, _ERROR, _DONE = 20, 0x301, 2, 3
_HEADER = struct.Struct("=IHHII")  # of every message: length, type, flags, sequence, sender
_QUESTION = struct.Struct("=BBBxI48x")  # family, protocol, what more is wanted, states, no socket in particular
_INODE = 68  # where an answer tells whose socket it is
_ANSWER = 72  # what an answer begins with, before what more is told
_TCP_INFO = 2
_BYTES_RECEIVED = 128  # in what the kernel tells of a TCP connection, since Linux 4.1
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


class Received:
    """The bytes that a process, and all that it started, have received since this was made."""

    def __init__(self, pid: int) -> None:
        self._pid, self._total = pid, 0
        self._seen: dict[int, int] = {}
        self._told = True

    def count(self) -> int:
        """Return the bytes received by now, without those of connections that came and went between two calls."""
        if self._told:
            try:
                mine = sockets(tree(self._pid))
                now = {inode: count for one in _FAMILIES for inode, count in connections(one) if inode in mine}
            except OSError:
                self._told = False  # a kernel without this; what the interfaces count from here on is a larger number
            else:
                for inode, count in now.items():
                    before = self._seen.get(inode, 0)
                    self._total += count - before if count >= before else count  # or else another one's by now
                self._seen = now
        return self._total if self._told else self._total + of_interfaces()


def of_interfaces(root: Path = Path("/sys/class/net")) -> int:
    """Return the bytes that all network interfaces have received."""
    total = 0
    for path in root.glob("*/statistics/rx_bytes"):
        with suppress(OSError):  # an interface that went away
            total += int(path.read_text())
    return total


def tree(pid: int, proc: Path = Path("/proc")) -> set[int]:
    """Return a process and all that it started, as far as they still run under it."""
    found, left = {pid}, [pid]
    while left:
        for path in (proc / str(left.pop()) / "task").glob("*/children"):
            with suppress(OSError):  # ended meanwhile
                new = {int(word) for word in path.read_text().split()} - found
                found |= new
                left += new
    return found


def sockets(pids: set[int], proc: Path = Path("/proc")) -> set[int]:
    """Return the inodes of the sockets that processes of this user have open."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            for entry in os.scandir(proc / str(pid) / "fd"):
                with suppress(OSError):
                    kind, _colon, number = os.readlink(entry.path).partition(":")
                    if kind == "socket":
                        found.add(int(number.strip("[]")))
    return found


def connections(family: int) -> Iterator[tuple[int, int]]:
    """Yield the inode and the received bytes of every TCP connection, as ``ss --info`` would.

    :raises OSError: where this kernel does not tell.
    """
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 1 << (_TCP_INFO - 1), 0xFFFFFFFF)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as link:
        link.settimeout(5)
        link.sendall(_HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + question)
        while True:
            data = link.recv(1 << 18)
            while data:
                length, kind = _HEADER.unpack_from(data)[:2]
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    number = -struct.unpack_from("=i", data, _HEADER.size)[0]
                    raise OSError(number, os.strerror(number))
                yield from _read(data[_HEADER.size : length])
                data = data[(length + 3) & ~3 :]


def _read(answer: bytes) -> Iterator[tuple[int, int]]:
    (inode,), more = struct.unpack_from("=I", answer, _INODE), answer[_ANSWER:]
    while len(more) >= 4:
        length, kind = struct.unpack_from("=HH", more)
        if kind == _TCP_INFO and length >= 4 + _BYTES_RECEIVED + 8:
            yield inode, struct.unpack_from("=Q", more, 4 + _BYTES_RECEIVED)[0]
        more = more[max((length + 3) & ~3, 4) :]
