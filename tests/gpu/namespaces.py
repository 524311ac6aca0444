# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a node of a part of one machine: namespaces, mounts, and a cable between two of them. Root alone may.

Standard library alone, and no program beside it: an image with an engine has neither ``ip`` nor ``unshare`` at times.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Callable, TypeVar

T = TypeVar("T")

NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x00020000, 0x04000000, 0x08000000, 0x20000000, 0x40000000  # clone(2)
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18  # mount(2)
PR_SET_PDEATHSIG = 1
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8913, 0x8914, 0x8916, 0x891C  # netdevice(7)
IFF_UP = 1
# rtnetlink(7)
RTM_NEWLINK, NLMSG_ERROR = 16, 2
CREATE = 0x1 | 0x4 | 0x200 | 0x400  # a request, with an answer, of what is not there yet
IFNAME, LINKINFO, NET_NS_PID, INFO_KIND, INFO_DATA, VETH_PEER = 3, 18, 19, 1, 2, 1

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def die_with_parent(number: int) -> None:
    """Have the kernel send this process a signal when its parent ends."""
    _checked(_libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0), "prctl")


def unshare(kinds: int) -> None:
    """Namespaces of its own for this process; of processes, for its children alone."""
    _checked(_libc.unshare(kinds), "unshare")


def enter(pid: int, *kinds: str) -> None:
    """Join namespaces of a process, such as ``net``. In a thread, that of the network alone can be joined."""
    for kind in kinds:
        with Path(f"/proc/{pid}/ns/{kind}").open("rb") as opened:
            _checked(_libc.setns(opened.fileno(), 0), f"setns of {kind}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """As mount(2). :raises OSError: with the target."""
    words = [word.encode() if word else None for word in (source, target, kind)]
    _checked(_libc.mount(*words, ctypes.c_ulong(flags), options.encode() or None), f"mount on {target}")


def bind(source: str, target: str, read_only: bool = False) -> None:
    """Show a directory at another place."""
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def inside(pid: int, do: Callable[[], T]) -> T:
    """What a function returns in the network of a process. :raises Exception: as the function does."""
    found: list[T] = []
    wrong: list[BaseException] = []

    def run() -> None:
        try:
            enter(pid, "net")
            found.append(do())
        except BaseException as error:  # told where it is asked for
            wrong.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if wrong:
        raise wrong[0]
    return found[0]


def network_of(pid: int | str) -> str:
    """Which network a process is in; empty of one that has ended."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def processes_in(network: str) -> list[int]:
    """All processes that are in a network, by the numbers that they have here."""
    numbers = (path.name for path in Path("/proc").iterdir() if path.name.isdigit())
    return [int(number) for number in numbers if network_of(number) == network]


# --- a cable ---------------------------------------------------------------------------------------------------------


def _attribute(kind: int, value: bytes) -> bytes:
    packed = struct.pack("=HH", 4 + len(value), kind) + value
    return packed + bytes(-len(packed) % 4)


def _end(name: str, pid: int) -> bytes:
    return _attribute(IFNAME, name.encode() + b"\0") + _attribute(NET_NS_PID, struct.pack("=I", pid))


def cable(name: str, one: int, other: int) -> None:
    """A pair of netdevs of one name, in the networks of two processes. :raises OSError: where the kernel has none."""
    blank = bytes(16)  # struct ifinfomsg
    peer = _attribute(VETH_PEER, blank + _end(name, other))
    info = _attribute(LINKINFO, _attribute(INFO_KIND, b"veth\0") + _attribute(INFO_DATA, peer))
    body = blank + _end(name, one) + info
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asked:
        asked.bind((0, 0))
        asked.send(struct.pack("=IHHII", 16 + len(body), RTM_NEWLINK, CREATE, 1, 0) + body)
        answer = asked.recv(65536)
    kind, error = struct.unpack_from("=H", answer, 4)[0], struct.unpack_from("=i", answer, 16)[0]
    if kind != NLMSG_ERROR or error:
        raise OSError(-error, f"a cable cannot be made: {os.strerror(-error)}")


def _asked(name: str, number: int, rest: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        return fcntl.ioctl(one.fileno(), number, struct.pack("16s24s", name.encode(), rest))


def switch(name: str, up: bool) -> None:
    """Set a netdev of this network up or down; its other end then has no carrier, as with a cable that is out."""
    flags = struct.unpack_from("=h", _asked(name, SIOCGIFFLAGS, b""), 16)[0]
    _asked(name, SIOCSIFFLAGS, struct.pack("=h", flags | IFF_UP if up else flags & ~IFF_UP))


def give_address(name: str, address: str, mask: str) -> None:
    """Give a netdev of this network its IPv4 address, and set it up."""
    for number, text in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, mask)):
        _asked(name, number, struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton(text)))
    switch(name, True)
