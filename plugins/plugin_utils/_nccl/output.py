# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what a program of nccl-tests printed, and NCCL's own lines between. Pure functions.

The shape is that of nccl-tests up to 2.19.6 (src/util.cu): a table with a row a size, of which each has the figures of
an operation out of place and in place. Columns that are there on request alone (CPU times, time stamps) are not read.

This plugin util is private to the collection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Iterable

_FIGURE = r"\d{1,30}(?:\.\d{0,30})?(?:e[+-]?\d{1,4})?|-?nan|-?inf"
_THREE = rf"\s+({_FIGURE})\s+({_FIGURE})\s+({_FIGURE})\s+({_FIGURE}|N/A)"
#: size, count, type, operation, root; then time, algbw, busbw and wrong values, twice
ROW = re.compile(rf"^\s*(\d{{1,20}})\s+(\d{{1,20}})\s+(\w+)\s+(\w+)\s+(-?\d{{1,9}}){_THREE}{_THREE}\s*$")
RANK = re.compile(
    r"^#\s+Rank\s+(?P<rank>\d{1,9})\s+Group\s+\d+\s+Pid\s+\d+\s+on\s+(?P<host>\S+)\s+device\s+\d+\s+\[[^\]]*\]\s*(?P<gpu>.*?)\s*$"
)
VERSION = re.compile(
    r"^# nccl-tests version (?P<tests>\S+) nccl-headers=(?P<headers>\d{1,9}) nccl-library=(?P<library>\d{1,9})"
)
BOUNDS = re.compile(r"^# Out of bounds values\s*:\s*(?P<count>\d{1,20})\s+(?:OK|FAILED)")
AVERAGE = re.compile(rf"^# Avg bus bandwidth\s*:\s*(?P<busbw>{_FIGURE})(?:\s|$)")
REDUCED = re.compile(r"^# Reducing maxBytes to (?P<bytes>\d{1,20}) due to memory limitation")
#: nccl-tests' own words at an error of CUDA or NCCL, and NCCL's
ERROR = re.compile(
    r"Test (?:NCCL|CUDA) failure|NCCL WARN|Test timeout|noticed that process rank|error while loading shared libraries"
)
#: anywhere in a line, since mpirun joins what all ranks print
NETWORK = re.compile(r"(?P<host>[\w.-]+):\d+:\d+ \[\d+\] NCCL INFO Using network (?P<transport>\S+)")
USING = re.compile(r"(?P<host>[\w.-]+):\d+:\d+ \[\d+\] NCCL INFO NET/(?P<transport>IB|Socket) : Using (?P<devices>.*)$")
DEVICE = re.compile(r"\[\d+\](?P<name>[\w.-]+):")
NAMED = re.compile(r"dgx-spark: (?P<name>\S+) is (?P<host>\S+) to NCCL$")
WITHOUT = re.compile(r"dgx-spark: rank \d+ on (?P<name>\S+) is without RDMA: (?P<why>.*)$")
MOST_ERRORS = 5


@dataclass(frozen=True)
class Figures:
    """One kind of an operation at one size."""

    time_us: float
    algbw: float  # GB/s, of 10**9 bytes
    busbw: float  # GB/s: what the slowest link carried, whatever the number of ranks
    wrong: int | None  # values that were not what they should be; None where nobody looked


@dataclass(frozen=True)
class Row:
    """One size."""

    size: int  # bytes
    count: int
    type: str
    operation: str
    root: int
    out_of_place: Figures
    in_place: Figures


@dataclass(frozen=True)
class Rank:
    """A rank as the program names it."""

    rank: int
    host: str
    gpu: str


@dataclass(frozen=True)
class Network:
    """What a host's rank talks over, as NCCL says."""

    transport: str  # IB or Socket, or the name of another network
    devices: tuple[str, ...] = ()
    why: str = ""  # why it is without RDMA, where the rank said so


@dataclass
class Output:
    """All that was printed."""

    version: str = ""  # of nccl-tests, empty before 2.13 or so
    headers: int = 0  # NCCL's version that it was built with, such as 22809
    library: int = 0  # that it ran with
    ranks: list[Rank] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    out_of_bounds: int | None = None  # None where the run did not come to its end
    average: float | None = None  # of busbw over all sizes, small ones too
    reduced_to: int | None = None  # bytes: the largest size that the memory allowed
    networks: dict[str, Network] = field(default_factory=dict)  # by the name of the node
    errors: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether it came to its end."""
        return self.average is not None

    @property
    def wrong(self) -> int:
        """Values that were wrong, over all sizes."""
        seen = sum(one.wrong or 0 for row in self.rows for one in (row.out_of_place, row.in_place))
        return max(seen, self.out_of_bounds or 0)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "version": self.version,
            "nccl_headers": dotted(self.headers),
            "nccl": dotted(self.library),
            "ranks": [vars(rank) for rank in self.ranks],
            "rows": [
                {
                    **{"size": row.size, "count": row.count, "type": row.type, "operation": row.operation},
                    "out_of_place": vars(row.out_of_place),
                    "in_place": vars(row.in_place),
                }
                for row in self.rows
            ],
            "out_of_bounds": self.out_of_bounds,
            "average_busbw": self.average,
            "reduced_to": self.reduced_to,
            "networks": {name: {**vars(one), "devices": list(one.devices)} for name, one in self.networks.items()},
            "errors": self.errors,
        }


def dotted(code: int) -> str:
    """NCCL's version as people write it, of its number; empty of none.

    >>> dotted(22809), dotted(2708), dotted(0)
    ('2.28.9', '2.7.8', '')
    """
    if not code:
        return ""
    major, rest = divmod(code, 10000) if code >= 10000 else divmod(code, 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


def parse(text: str) -> Output:
    """Read the output of one run, whole or not. A line that nothing is known of is passed over."""
    found = Output()
    names: dict[str, str] = {}
    said: dict[str, Network] = {}
    why: dict[str, str] = {}
    for line in text.splitlines():
        row = ROW.match(line)
        if row:
            found.rows.append(_row(row.groups()))
        elif line.startswith("#"):
            _header(found, line)
        else:
            _of_nccl(line, names, said, why)
        if ERROR.search(line) and len(found.errors) < MOST_ERRORS:
            found.errors.append(line.strip()[:300])
    found.networks = {
        names.get(host, host): Network(one.transport, one.devices, why.get(names.get(host, host), ""))
        for host, one in said.items()
    }
    return found


def _row(words: Iterable[str]) -> Row:
    size, count, kind, operation, root, *figures = words
    return Row(int(size), int(count), kind, operation, int(root), _figures(figures[:4]), _figures(figures[4:]))


def _figures(words: list[str]) -> Figures:
    time_us, algbw, busbw = (_finite(word) for word in words[:3])
    wrong = float(words[3]) if words[3] != "N/A" else None
    # A number that is none is a wrong value too: nobody knows how many.
    count = None if wrong is None else int(wrong) if isfinite(wrong) else 1
    return Figures(time_us, algbw, busbw, count)


def _finite(word: str) -> float:
    """A figure; 0 for what is no number, which a broken clock gives."""
    value = float(word)
    return value if isfinite(value) else 0.0


def _header(found: Output, line: str) -> None:
    """Note what a line of the program's own says beside the table."""
    if version := VERSION.match(line):
        found.version = version["tests"]
        found.headers, found.library = int(version["headers"]), int(version["library"])
    elif rank := RANK.match(line):
        found.ranks.append(Rank(int(rank["rank"]), rank["host"], rank["gpu"]))
    elif bounds := BOUNDS.match(line):
        found.out_of_bounds = int(bounds["count"])
    elif reduced := REDUCED.match(line):
        found.reduced_to = int(reduced["bytes"])
    elif average := AVERAGE.match(line):
        found.average = _finite(average["busbw"])


def _of_nccl(line: str, names: dict[str, str], said: dict[str, Network], why: dict[str, str]) -> None:
    """Note what a line of NCCL's, or of a rank's wrapper, says of the network."""
    if named := NAMED.search(line.rstrip()):
        names[named["host"]] = named["name"]
    elif without := WITHOUT.search(line):
        why[without["name"]] = without["why"].strip()
    elif using := USING.search(line):
        devices = tuple(dict.fromkeys(DEVICE.findall(using["devices"])))
        said[_host(using["host"], names)] = Network(using["transport"], devices)
    elif network := NETWORK.search(line):
        host = _host(network["host"], names)
        before = said.get(host)
        if before is None or before.transport != network["transport"]:
            said[host] = Network(network["transport"])


def _host(word: str, names: Iterable[str]) -> str:
    """The host of a line, in front of which something without an end of its own may stand."""
    known = [name for name in names if word.endswith(name)]
    return max(known, key=len) if known else word
