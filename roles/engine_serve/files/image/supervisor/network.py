# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for addresses and ports of this node; to wait is never a failed start."""

from __future__ import annotations

import fcntl
import socket
import struct
import time
from typing import Any, Mapping, Sequence

from . import contract
from .state import State

SIOCGIFADDR = 0x8915  # netdevice(7)
PORTS = 100  # that are tried


def others(cluster: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    """The names of the other nodes."""
    return [one["name"] for one in cluster["nodes"] if one["name"] != node["name"]]


def has_address(address: str) -> bool:
    """Whether this node has an address now."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def netdev_of(address: str) -> str:
    """The netdev that has an IPv4 address; empty where none has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _index, name in socket.if_nameindex():
            try:
                told = fcntl.ioctl(asked.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # it has no address, or is gone
            if socket.inet_ntoa(told[20:24]) == address:
                return name
    return ""


def free_port(first: int) -> int:
    """The first port from this one on that nothing has on any address of this node.

    :raises RuntimeError: where many in a row are taken.
    """
    for port in range(first, first + PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
                probe.listen()
            except OSError:
                continue
            return port
    raise RuntimeError(f"no port from {first} to {first + PORTS - 1} is free: ss -ltnp tells who has them")


def await_address(address: str, state: State, others: Sequence[str] = ()) -> None:
    """Wait, without limit, until this node has an address: its cable may be out.

    :param others: the nodes that may be at the other end of it.
    """
    ends = f": its cable is out, or {' and '.join(others)} at the other end of it off" if others else ""
    while not has_address(address):
        state.set(phase=contract.WAITING, reason=f"this node has no address {address} yet{ends}")
        time.sleep(5)


def await_port(address: str, state: State, reuse: bool = False) -> None:
    """Wait, without limit, until an ``address:port`` can be listened on.

    :param reuse: whether the server binds with SO_REUSEADDR; else what is left in TIME_WAIT must pass first.
    """
    host, port = address.rsplit(":", 1)
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            try:
                probe.bind((host, int(port)))
                probe.listen()  # with SO_REUSEADDR, this is what another listener forbids
                return
            except OSError as error:
                reason = f"{address} cannot be bound yet ({error.strerror}; ss -ltnp tells who has it)"
        if state.values.get("reason") != reason:
            state.set(phase=contract.WAITING, reason=reason)
        time.sleep(2)
