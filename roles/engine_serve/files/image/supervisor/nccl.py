# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NCCL, and this program's rank wrappers, say of a rank's transport."""

from __future__ import annotations

import re

LINE = re.compile(r"^(?:\[[^\]]*\])?(?:<std(?:out|err)>:)?\s*(?P<host>\S+?):\d+:\d+ \[\d+\] NCCL INFO (?P<message>.*)$")
USING = re.compile(r"NET/(?P<transport>IB|Socket) : Using (?P<devices>.*)$")
NAMED = re.compile(r"dgx-spark: (?P<name>\S+) is (?P<hostname>\S+) to NCCL$")
WITHOUT = re.compile(r"dgx-spark: rank \d+ on (?P<host>\S+) is without RDMA: (?P<why>.*)$")


def transport_of(line: str) -> tuple[str, str, str] | None:
    """Host, transport (``IB`` or ``Socket``) and devices of NCCL's line that names them, else None."""
    said = LINE.match(line)
    using = USING.search(said["message"]) if said else None
    return (said["host"], using["transport"], using["devices"]) if said and using else None


class Transports:
    """What every rank talks over, from the lines of all ranks."""

    def __init__(self) -> None:
        self.ranks: dict[str, dict[str, str]] = {}  #: of the shape contract.Transport, by short name
        self.without: dict[str, str] = {}  #: why a node is without RDMA, by short name
        self._names: dict[str, str] = {}  # of the nodes, by their host names

    def read(self, line: str) -> bool:
        """Note what a line tells. Returns whether the line is a rank wrapper's own."""
        without, named = WITHOUT.search(line), NAMED.search(line.rstrip())
        if named:
            self._names[named["hostname"]] = named["name"]
        elif without:
            whys = [self.without.get(without["host"], ""), without["why"].strip()]
            self.without[without["host"]] = "; ".join(filter(None, whys))
        found = transport_of(line.rstrip("\n"))
        if found:
            host, transport, devices = found
            host = self._names.get(host, host)
            self.ranks[host] = {"transport": transport, "devices": devices, "why": self.without.get(host, "")}
        return bool(named or without)
