# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find out which machine is at the other end of each cable.

Every member sends broadcast frames out of each half that has a signal and listens, all at the same time. This needs no
address, no software on the host and no change to the host, and the frames do not leave the cable. One cable joins both
halves of both ends, so a frame tells the cage that it came from, never the half.

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from typing import Any, Iterable, Mapping, Sequence, Tuple

ETHERTYPE = 0x88B5  # IEEE 802: for local experiments
MAGIC = b"dgx-spark-fabric/1\0"
BROADCAST = b"\xff" * 6
PERIOD = 0.02  # s between frames
LINGER = 0.1  # s to go on once all is known, so that the others learn the rest too

End = Tuple[str, int]  # a machine's id and the number of its cage


def machine_id(links: Iterable[Mapping[str, Any]]) -> str | None:
    """Return what a machine calls itself on the wire: the lowest hardware address of its ConnectX-7."""
    return min((link["mac"] for link in links if link["mac"]), default=None)


def pack(mac: str, sender: End, met: Iterable[str]) -> bytes:
    """Return the frame that ``sender`` sends out of the netdev with address ``mac``."""
    content = json.dumps({"id": sender[0], "cage": sender[1], "met": sorted(met)}).encode()
    header = BROADCAST + bytes.fromhex(mac.replace(":", "")) + ETHERTYPE.to_bytes(2, "big")
    return (header + MAGIC + content).ljust(60, b"\0")


def unpack(frame: bytes) -> tuple[End, set[str]] | None:
    """Return the sender of a frame and the machines that it has met, None for another frame of that EtherType."""
    body = frame[14:]
    if not body.startswith(MAGIC):
        return None
    try:
        content = json.loads(body[len(MAGIC) :].rstrip(b"\0"))
        return (str(content["id"]), int(content["cage"])), {str(other) for other in content["met"]}
    except (ValueError, KeyError, OverflowError, RecursionError, TypeError):
        return None


class Neighbors:
    """The machines that were found at each cage, and whether all are found."""

    def __init__(self, own: str, cages: Iterable[int], others: int) -> None:
        self.own, self.others = own, others
        self.found: dict[int, set[End]] = {cage: set() for cage in cages}
        self._known_to: set[str] = set()

    @property
    def met(self) -> set[str]:
        """The machines that were found, this one left out."""
        return {end[0] for ends in self.found.values() for end in ends} - {self.own}

    def record(self, cage: int, frame: bytes) -> None:
        """Record the sender of a frame that came in at a cage."""
        content = unpack(frame)
        if content is None:
            return
        sender, met = content
        if sender == (self.own, cage):  # the other half of this cage sent the frame
            return
        self.found[cage].add(sender)
        if self.own in met:
            self._known_to.add(sender[0])

    @property
    def complete(self) -> bool:
        """Whether every other machine was met and has met this one, and every cage leads somewhere."""
        return len(self.met) >= self.others and self.met <= self._known_to and all(self.found.values())


def probe(links: Sequence[Mapping[str, Any]], others: int, seconds: float) -> list[dict[str, Any]]:
    """Return the machines that answered at each cage, as ``physical_port``, ``id`` and ``cage`` (of the other machine).

    :param links: of this machine; those without a signal are left out.  :param others: how many machines to wait for.
    """
    with_carrier = [link for link in links if link["carrier"] and link["mac"] and link["physical_port"] is not None]
    own = machine_id(links)
    if not with_carrier or not others or own is None:
        return []
    known = Neighbors(own, {link["physical_port"] for link in with_carrier}, others)
    with contextlib.ExitStack() as stack:
        wires = {}
        for link in with_carrier:
            # Without a protocol it hears nothing until it is bound; with one, what comes in at any other cage too.
            wire = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
            wire.bind((link["netdev"], ETHERTYPE))
            wires[wire] = link
        end, due = time.monotonic() + seconds, 0.0
        lingering = False
        while time.monotonic() < end:
            if time.monotonic() >= due:
                for wire, link in wires.items():
                    with contextlib.suppress(OSError):  # the signal went away
                        wire.send(pack(link["mac"], (own, link["physical_port"]), known.met))
                due = time.monotonic() + PERIOD
            for wire in select.select(list(wires), [], [], PERIOD / 4)[0]:
                with contextlib.suppress(OSError):
                    known.record(wires[wire]["physical_port"], wire.recv(2048))
            if known.complete and not lingering:
                lingering, end = True, min(end, time.monotonic() + LINGER)
    return [
        {"physical_port": cage, "id": other, "cage": there}
        for cage, ends in sorted(known.found.items())
        for other, there in sorted(ends)
    ]
