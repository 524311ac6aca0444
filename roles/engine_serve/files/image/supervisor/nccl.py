# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NCCL, and this program's rank wrappers, say of a rank's transport."""

from __future__ import annotations

import re
from typing import Iterable

from . import contract

#: anywhere in a line, since a progress bar in front of it has no end of its own, and mpirun joins all ranks' output
LINE = re.compile(r"(?P<host>[\w.-]+):\d+:\d+ \[\d+\] NCCL INFO NET/(?P<transport>IB|Socket) : Using (?P<devices>.*)$")
#: what it settles on, beside the line above; without that, of a build that leaves it out, it is all that is said
NETWORK = re.compile(r"(?P<host>[\w.-]+):\d+:\d+ \[\d+\] NCCL INFO Using network (?P<transport>IB|Socket)\s*$")
NAMED = re.compile(r"dgx-spark: (?P<name>\S+) is (?P<hostname>\S+) to NCCL$")
VERSION = re.compile(r"NCCL version (?P<build>\d+\.\d+[\w.+-]*)")
WITHOUT = re.compile(r"dgx-spark: rank \d+ on (?P<host>\S+) is without RDMA: (?P<why>.*)$")


def transport_of(line: str, hosts: Iterable[str]) -> tuple[str, str, str] | None:
    """Host, transport (``IB`` or ``Socket``) and devices of NCCL's line that names them, else None.

    :param hosts: the names that hosts may have there. What stands before the line may touch the name.

    >>> line = "40it/sspark2:12:13 [0] NCCL INFO NET/IB : Using [0]rocep1s0f0:1/RoCE [RO]"
    >>> transport_of(line, ["spark1", "spark2"])
    ('spark2', 'IB', '[0]rocep1s0f0:1/RoCE [RO]')
    """
    said = LINE.search(line) or NETWORK.search(line)
    if not said:
        return None
    known = [host for host in hosts if said["host"].endswith(host)]
    devices = said.groupdict().get("devices", "")
    return (max(known, key=len), said["transport"], devices) if known else None


class Transports:
    """What every rank talks over, from the lines of all ranks.

    :param names: short names of the nodes.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.ranks: dict[str, contract.Transport] = {}  #: by short name
        self.without: dict[str, str] = {}  #: why a node is without RDMA, by short name
        self.build = ""  #: of NCCL, as the first rank that said it has it
        self._names = {name: name for name in names}  # of the nodes, by their host names

    def read(self, line: str) -> bool:
        """Note what a line tells. Returns whether the line is a rank wrapper's own."""
        without, named = WITHOUT.search(line), NAMED.search(line.rstrip())
        if named:
            self._names[named["hostname"]] = named["name"]
        elif without:
            whys = [self.without.get(without["host"], ""), without["why"].strip()]
            self.without[without["host"]] = "; ".join(filter(None, whys))
        version = None if self.build else VERSION.search(line)
        if version:
            self.build = version["build"]
        found = transport_of(line.rstrip("\n"), self._names)
        if found:
            host, transport, devices = found
            host = self._names[host]
            before = self.ranks.get(host)
            if not devices:
                devices = before["devices"] if before and before["transport"] == transport else "devices not named"
            self.ranks[host] = {"transport": transport, "devices": devices, "why": self.without.get(host, "")}
        return bool(named or without)
