# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NCCL carries by RDMA from a rank to the next: real bytes, by TCP between the addresses of the RoCE devices."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import json
import socket
import threading
from typing import Iterable, Protocol, Sequence

from tensorrt_llm.simulation.transport import NcclError

PATIENCE = 60  # seconds until a neighbour has called


class Messages(Protocol):
    """How ranks that have no wire yet find each other, which is MPI."""

    rank: int
    size: int

    def send(self, peer: int, data: bytes) -> None:
        """Give one message to one rank."""

    def receive(self, peer: int) -> bytes:
        """Wait for the next message of one rank."""


def pair(mine: Sequence[str], theirs: Sequence[str], aware: bool) -> tuple[str, str] | None:
    """The addresses of the first devices, here and there, that are in one network; None where no two are.

    :param mine: an address with its prefix length a device, empty for none. :param aware: with
        NCCL_IB_SUBNET_AWARE_ROUTING any device may meet any; without, the first meets the first, and so on.

    >>> pair(["10.0.1.1/24", "10.0.2.1/24"], ["10.0.2.2/24", "10.0.3.2/24"], True)
    ('10.0.2.1', '10.0.2.2')
    >>> pair(["10.0.1.1/24", "10.0.2.1/24"], ["10.0.2.2/24", "10.0.3.2/24"], False)
    """
    meetings: Iterable[tuple[str, str]] = itertools.product(mine, theirs) if aware else zip(mine, theirs)
    for here, there in meetings:
        if here and there:
            one, other = ipaddress.ip_interface(here), ipaddress.ip_interface(there)
            if one.network == other.network:
                return str(one.ip), str(other.ip)
    return None


class Wire:
    """From the rank before, and to the next. All ranks make theirs at once."""

    def __init__(self, link: Messages, addresses: Sequence[str], aware: bool) -> None:
        before, after = (link.rank - 1) % link.size, (link.rank + 1) % link.size
        link.send(after, json.dumps(addresses).encode())
        met = pair(addresses, json.loads(link.receive(before)), aware)
        with contextlib.ExitStack() as stack:
            door = None
            if met:
                door = stack.enter_context(socket.create_server((met[0], 0)))
                door.settimeout(PATIENCE)
            link.send(before, json.dumps([*met, door.getsockname()[1]] if met and door else None).encode())
            told = json.loads(link.receive(after))
            if not met or not told or not door:
                raise NcclError(
                    "ncclSystemError: Call to ibv_modify_qp failed with 110 Connection timed out: no RoCE device of "
                    f"rank {link.rank} is in one network with its counterpart on rank {after if met else before}"
                )
            address, own, port = told
            self._out = socket.create_connection((address, port), timeout=PATIENCE, source_address=(own, 0))
            self._in, _peer = door.accept()
        for end in (self._in, self._out):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def shift(self, data: bytes) -> bytes:
        """Send to the next rank, and receive as much from the one before; every rank does so at once."""
        going = threading.Thread(target=self._send, args=(data,), daemon=True)
        going.start()
        came = bytearray()
        while len(came) < len(data):
            piece = self._in.recv(min(len(data) - len(came), 1 << 20))
            if not piece:
                raise NcclError("ncclRemoteError: the connection was closed by the remote peer")
            came += piece
        going.join()
        return bytes(came)

    def close(self) -> None:
        self._in.close()
        self._out.close()

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a peer that is gone is seen by the one that receives
            self._out.sendall(data)
