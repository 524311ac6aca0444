# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of a measurement share: outputs in the shape of nccl-tests, and what was planned."""

from __future__ import annotations

from typing import Any, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._nccl import judge, output

BOTH = ("rocep1s0f0", "roceP2p1s0f0")
HEAD = """\
# nccl-tests version 2.19.6 nccl-headers=22809 nccl-library=22809
# Collective test starting: all_gather_perf
# nThread 1 nGpus 1 minBytes 8 maxBytes 4294967296 step: 2(factor) warmup iters: 5 iters: 20 agg iters: 1 \
validation: 1 graph: 0 unalign: 0
#
# Using devices
#  Rank  0 Group  0 Pid    210 on spark-aaaa device  0 [000f:01:00] NVIDIA GB10
#  Rank  1 Group  0 Pid    310 on spark-bbbb device  0 [000f:01:00] NVIDIA GB10
"""
COLUMNS = """\
#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  (GB/s)
"""
NAMES = """\
dgx-spark: spark1 is spark-aaaa to NCCL
dgx-spark: spark2 is spark-bbbb to NCCL
"""


def network(host: str, transport: str = "IB", devices: Sequence[str] = BOTH) -> str:
    """NCCL's lines of one host."""
    using = " ".join(f"[{number}]{name}:1/RoCE" for number, name in enumerate(devices))
    start = f"{host}:210:211 [0] NCCL INFO"
    named = f"{start} NET/IB : Using {using} [RO]; OOB enp1s0f0np0:192.168.100.10<0>\n" if transport == "IB" else ""
    named += f"{start} NET/Socket : Using [0]enp1s0f0np0:192.168.100.10<0>\n" if transport == "Socket" else ""
    return f"{named}{start} Using network {transport}\n"


def row(size: int, busbw: float, wrong: str = "0", time_us: float = 0.0) -> str:
    """One line of the table, of all_gather between two."""
    time = f"{time_us or max(28.0, size / busbw / 2e3):.2f}"[:7]
    figures = f"  {time:>7s}  {2 * busbw:>6.2f}  {busbw:>6.2f}  {wrong:>6s}"
    return f"{size:12d}  {size // 8:12d}  {'float':>8s}  {'none':>6s}  {-1:>6d}{figures}{figures}\n"


def text(
    busbw: float = 22.7,
    networks: str = network("spark-aaaa") + network("spark-bbbb"),
    rows: str | None = None,
    wrong: str = "0",
    end: bool = True,
) -> str:
    """The output of a whole run, or of one that did not come to its end."""
    table = row(8, 0.01, time_us=28) + row(1 << 20, busbw / 2, wrong) + row(1 << 30, busbw, wrong)
    last = f"# Out of bounds values : {wrong} {'OK' if wrong == '0' else 'FAILED'}\n"
    last += f"# Avg bus bandwidth    : {busbw / 2:g} \n#\n"
    return NAMES + networks + HEAD + COLUMNS + (table if rows is None else rows) + (last if end else "")


def asked(**values: Any) -> judge.Asked:
    """Two Sparks with both halves of a cable, by default."""
    links = [judge.Link("enp1s0f0np0", BOTH[0], 9000), judge.Link("enP2p1s0f0np0", BOTH[1], 9000)]
    return judge.Asked(**{"members": ["spark1", "spark2"], "links": {"spark1": links, "spark2": links}, **values})


def ran(printed: str = "", **values: Any) -> judge.Ran:
    """One operation."""
    return judge.Ran(output.parse(printed or text()), **values)
