# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens on a TCP port of this host, from /proc.

Source: proc_pid_net(5) and the kernel's Documentation/networking/proc_net_tcp.rst.

This module util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Collection, Iterable, Mapping, Sequence, Union

LISTEN = "0A"
_CONTAINER = re.compile(r"\bdocker[-/]([0-9a-f]{64})\b")
IpAddress = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


@dataclass(frozen=True)
class Listener:
    """A socket that listens; ``inode`` tells it from others."""

    address: IpAddress
    port: int
    inode: int


@dataclass(frozen=True)
class Holder:
    """A process that has such a socket open, by its short name, and its Docker container where it runs in one."""

    pid: int
    name: str
    container: str = ""

    def __str__(self) -> str:
        inside = f" in the container {self.container}" if self.container else ""
        return f"{self.name} (process {self.pid}{inside})"


def address_of(digits: str) -> IpAddress:
    """Read an address as the kernel prints it: words of 32 bits in the processor's order; IPv4 in IPv6 is IPv4.

    >>> address_of("0100007F"), address_of("0" * 32)
    (IPv4Address('127.0.0.1'), IPv6Address('::'))
    """
    words = [digits[start : start + 8] for start in range(0, len(digits), 8)]
    packed = b"".join(bytes.fromhex(word)[::-1] for word in words)
    address = ipaddress.ip_address(packed)
    return getattr(address, "ipv4_mapped", None) or address


def listeners(table: str) -> list[Listener]:
    """Return the sockets that listen.

    :param table: the text of ``/proc/net/tcp`` or ``tcp6``: a heading, and a line a socket.
    """
    found = []
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > 9 and words[3] == LISTEN:
            with suppress(ValueError):  # a line that the kernel was still writing
                address, port = words[1].split(":")
                found.append(Listener(address_of(address), int(port, 16), int(words[9])))
    return found


def conflicting(found: Iterable[Listener], address: IpAddress, port: int) -> list[Listener]:
    """Return those that leave no room for one more listener at ``address`` (which may stand for all) and ``port``."""
    same = [one for one in found if one.port == port]
    return [one for one in same if one.address == address or one.address.is_unspecified or address.is_unspecified]


def holder(process: Path, names: Mapping[str, str]) -> Holder:
    """Tell who a process is.

    :param process: its directory in /proc. :param names: of the containers here, by their IDs; this host may be in one.
    """
    inside = [one for one in _CONTAINER.findall((process / "cgroup").read_text(encoding="utf-8")) if one in names]
    return Holder(
        pid=int(process.name),
        name=(process / "comm").read_text(encoding="utf-8", errors="replace").strip(),
        container=names[inside[-1]] if inside else "",
    )


def holders(proc: Path, inodes: Collection[int], names: Mapping[str, str]) -> list[Holder]:
    """Return the processes that have one of some sockets open, by number. Needs root for other users' ones."""
    links = {f"socket:[{inode}]" for inode in inodes}
    found = []
    for process in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            if any(os.readlink(entry) in links for entry in (process / "fd").iterdir()):
                found.append(holder(process, names))
        except OSError:
            continue  # it ended meanwhile
    return found


def is_own(container: str, *own: str) -> bool:
    """Whether a container is one of the caller's: of such a name, or of a service of the stack of such a name.

    >>> is_own("trtllm", "trtllm"), is_own("trtllm_worker.1.x", "trtllm"), is_own("trtllm2", "trtllm"), is_own("", "")
    (True, True, False, False)
    >>> is_own("vllm", "trtllm", "vllm")
    True
    """
    return any(name and (container == name or container.startswith(f"{name}_")) for name in own)


def refused(address: str, port: int) -> bool:
    """Whether the kernel refuses another listener there. Only what TIME_WAIT holds back is not counted."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen()
        except OSError:
            return True
    return False


def taken(
    address: str,
    port: int,
    own: str | Sequence[str] = "",
    names: Mapping[str, str] | None = None,
    proc: Path = Path("/proc"),
) -> tuple[bool, list[Holder]]:
    """Tell whether another program listens where the caller wants to, and which programs listen there.

    :param address: an IP address, which the host need not have yet.
    :param own: one or several, as ``is_own`` takes them.
    :param names: of containers, by their IDs.
    """
    tables = [proc / "net" / name for name in ("tcp", "tcp6")]
    found = [one for table in tables if table.exists() for one in listeners(table.read_text(encoding="ascii"))]
    near = conflicting(found, ipaddress.ip_address(address), port)
    who = holders(proc, {one.inode for one in near}, names or {}) if near else []
    # A probe could be in the way of the caller's own process that is just about to listen, so only where it must be.
    mine = [own] if isinstance(own, str) else own
    return bool(near) and not any(is_own(one.container, *mine) for one in who) and refused(address, port), who
