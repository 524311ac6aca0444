# SIMULATED: how a virtual Spark's hardware hears of its links (the netlink is the kernel's real one).
"""The little of rtnetlink that is needed: dump links and addresses, hear of changes."""

from __future__ import annotations

import os
import socket
import struct
from typing import Iterator

from virtual_spark.roce import Counters, Link

RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR = 16, 18, 20, 22
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
GROUPS = 0x1 | 0x10 | 0x100  # links, IPv4 addresses, IPv6 addresses
IFF_UP, IFF_LOWER_UP = 0x1, 0x10000
IFLA_ADDRESS, IFLA_IFNAME, IFLA_STATS64 = 1, 3, 23
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
IFA_F_TENTATIVE = 0x40


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each netlink message in a datagram."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, offset)
        if length < 16:
            return
        yield kind, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def attributes(data: bytes) -> dict[int, bytes]:
    """The route attributes of a message, by type."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def parse_link(payload: bytes) -> tuple[str, Link]:
    index, flags = struct.unpack_from("=BxHiII", payload)[2:4]
    found = attributes(payload[16:])
    # rx_packets tx_packets rx_bytes tx_bytes rx_errors tx_errors rx_dropped tx_dropped multicast ...
    stats = struct.unpack_from("=9Q", found.get(IFLA_STATS64, b"").ljust(72, b"\0"))
    counters = Counters(*stats[:4], rx_errors=stats[4], tx_dropped=stats[7], multicast=stats[8])
    mac = ":".join(f"{octet:02x}" for octet in found.get(IFLA_ADDRESS, b""))
    name = found.get(IFLA_IFNAME, b"").rstrip(b"\0").decode()
    return name, Link(index, bool(flags & IFF_UP), bool(flags & IFF_LOWER_UP), mac, counters)


def parse_address(payload: bytes) -> tuple[int, str] | None:
    """(interface index, address), or None for one that is not usable yet."""
    family, _prefix, flags, _scope, index = struct.unpack_from("=BBBBI", payload)
    found = attributes(payload[8:])
    if IFA_FLAGS in found:
        (flags,) = struct.unpack("=I", found[IFA_FLAGS])
    raw = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS)
    if family not in (socket.AF_INET, socket.AF_INET6) or not raw or flags & IFA_F_TENTATIVE:
        return None
    return index, socket.inet_ntop(family, raw)


def _dump(kind: int) -> Iterator[tuple[int, bytes]]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        header = struct.pack("=IHHII", 16 + 16, kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
        sock.send(header + bytes(16))  # ifinfomsg and ifaddrmsg of zeros: all of them
        while True:
            for found, payload in messages(sock.recv(1 << 18)):
                if found == NLMSG_DONE:
                    return
                if found == NLMSG_ERROR:
                    number = -struct.unpack_from("=i", payload)[0]
                    raise OSError(number, os.strerror(number))
                yield found, payload


def links() -> dict[str, Link]:
    return dict(parse_link(payload) for kind, payload in _dump(RTM_GETLINK) if kind == RTM_NEWLINK)


def addresses() -> dict[int, list[str]]:
    """Usable addresses by interface index, in the kernel's order, IPv6 after IPv4."""
    found: dict[int, list[str]] = {}
    parsed = [parse_address(payload) for kind, payload in _dump(RTM_GETADDR) if kind == RTM_NEWADDR]
    for index, address in sorted((item for item in parsed if item), key=lambda item: ":" in item[1]):
        found.setdefault(index, []).append(address)
    return found


def listen() -> socket.socket:
    """A socket that becomes readable when a link or an address changes."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    sock.bind((0, GROUPS))
    return sock


def drain(sock: socket.socket) -> bool:
    """Read off what has come; only that something came is of interest. True if there was anything."""
    heard = False
    while True:
        try:
            sock.recv(1 << 16)
        except BlockingIOError:
            return heard
        except OSError:  # ENOBUFS: so much came that some was lost; a full look follows anyway
            return True
        heard = True
