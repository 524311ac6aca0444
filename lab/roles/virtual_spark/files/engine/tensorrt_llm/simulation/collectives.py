# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of nccl-tests for ranks without a GPU, in the output of nccl-tests 2.19.6.

MPI, the choice of a network by NCCL's rules and the connections between the RoCE devices' addresses are real: at each
size some bytes go over each of them, so that a cable which carries nothing has the ranks stand still. The figures are
none of this machine's: they are those that were published of two Sparks, by what the ranks found. Each half of the
cable gives its share, a small MTU takes its own, and TCP gives what one stream of it does.

``CUDA_VIRTUAL_SPARK_WRONG`` has so many values be wrong from 1 MiB on.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol, Sequence

from tensorrt_llm.simulation import log, nccl, node, transport, wire

HALF, SMALL_MTU, TCP = 11.35, 20.5 / 22.7, 1.5  # GB/s, a share of it, and GB/s
RDMA_US, TCP_US = 28.0, 90.0
JUMBO = 4200  # bytes of a frame, that RoCE's own MTU of 4096 fits into
PIECE = 64 << 10  # bytes that go over each connection at each size, at most
VERSION = "2.19.6"
FLOAT = 4  # bytes
UNITS = {"K": 10, "M": 20, "G": 30}


class Link(Protocol):
    """The other ranks, by MPI."""

    rank: int
    size: int

    def send(self, peer: int, data: bytes) -> None:
        """Give one message to one rank."""

    def receive(self, peer: int) -> bytes:
        """Wait for the next message of one rank."""

    def shift(self, data: bytes) -> bytes:
        """Send to the next rank, and receive as much from the one before; every rank does so at once."""


class Arguments(argparse.ArgumentParser):
    """The real ones end with 1 for what they do not know."""

    def error(self, message: str) -> NoReturn:
        print(f"invalid option: {message}", file=sys.stderr)
        raise SystemExit(1)


def size_of(text: str) -> int:
    """A size as people write it.

    >>> size_of("8"), size_of("4G"), size_of("1M")
    (8, 4294967296, 1048576)
    """
    unit = UNITS.get(text[-1:].upper())
    return int(text[:-1]) << unit if unit else int(text)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments that the stand-in knows."""
    parser = Arguments(description="SIMULATED nccl-tests of a virtual Spark")
    parser.add_argument("-b", "--minbytes", type=size_of, default=32 << 20)
    parser.add_argument("-e", "--maxbytes", type=size_of, default=32 << 20)
    parser.add_argument("-f", "--stepfactor", type=int, default=2)
    parser.add_argument("-g", "--ngpus", type=int, default=1)
    parser.add_argument("-c", "--check", type=int, default=1)
    parser.add_argument("-n", "--iters", type=int, default=20)
    parser.add_argument("-w", "--warmup_iters", type=int, default=1)
    return parser.parse_args(argv)


@dataclass(frozen=True)
class Operation:
    """What is particular to one operation."""

    name: str
    reduces: bool
    in_place: bool = True

    def factor(self, ranks: int) -> float:
        """By which its busbw is larger than its algbw."""
        share = (ranks - 1) / ranks
        return {"all_reduce": 2 * share, "sendrecv": 1.0}.get(self.name, share)

    def count(self, size: int, ranks: int) -> int:
        """Elements of a rank: where the bytes are parted among the ranks, in whole pieces of 16 bytes, or none."""
        if self.name in ("all_reduce", "sendrecv"):
            return size // FLOAT
        return size // FLOAT // ranks // 4 * 4

    def size(self, size: int, ranks: int) -> int:
        """The bytes that are printed for those that were asked for."""
        return self.count(size, ranks) * FLOAT * (1 if self.name in ("all_reduce", "sendrecv") else ranks)


OPERATIONS = {
    one.name: one
    for one in (
        Operation("all_reduce", True),
        Operation("all_gather", False),
        Operation("reduce_scatter", True),
        Operation("alltoall", False),
        Operation("sendrecv", True, in_place=False),
    )
}


def mtu_of(device: str, sys_root: Path = Path("/sys")) -> int:
    """The MTU of the netdev of a RoCE device's port, as ``rocep1s0f0:1``; 0 where nothing tells."""
    name, _colon, port = device.partition(":")
    place = sys_root / "class/infiniband" / name / "ports" / (port or "1")
    try:
        netdev = (place / "gid_attrs/ndevs/0").read_text().strip()
        return int((sys_root / "class/net" / netdev / "mtu").read_text())
    except (OSError, ValueError):
        return 0


def peak(ranks: Sequence[dict[str, Any]]) -> float:
    """GB/s between the ranks: what the one with the fewest devices, and the smallest MTU, gives."""
    if any(one["kind"] != "IB" for one in ranks):
        return TCP
    small = any(0 < mtu < JUMBO for one in ranks for mtu in one["mtus"])
    return min(2, *(len(one["devices"]) for one in ranks)) * HALF * (SMALL_MTU if small else 1)


def fixed(value: float, width: int) -> str:
    """A figure as nccl-tests prints it, in as many digits as there is room for."""
    return next(
        (text for text in (f"{value:.2f}", f"{value:.1f}", f"{value:.0f}") if len(text) <= width), f"{value:.1e}"
    )


class Rank:
    """This rank, and the table where it is the first."""

    def __init__(self, link: Link, operation: Operation, asked: argparse.Namespace) -> None:
        self.link, self.operation, self.asked = link, operation, asked
        self.host = socket.gethostname()
        self.wires: list[wire.Wire] = []
        self.wrong = int(os.environ.get("CUDA_VIRTUAL_SPARK_WRONG", "0"))

    def say(self, text: str) -> None:
        """A line of the program's own, by the first rank alone."""
        if self.link.rank == 0:
            log.raw(text)

    def nccl_says(self, level: str, text: str) -> None:
        if os.environ.get("NCCL_DEBUG", "").upper() in ("INFO", "TRACE") or level == "WARN":
            log.raw(f"{self.host}:{os.getpid()}:{threading.get_native_id()} [0] NCCL {level} {text}")

    def all_of(self, mine: dict[str, Any]) -> list[dict[str, Any]]:
        """What every rank says of itself, on all ranks."""
        if self.link.rank:
            self.link.send(0, json.dumps(mine).encode())
            return list(json.loads(self.link.receive(0)))
        every = [mine, *(json.loads(self.link.receive(peer)) for peer in range(1, self.link.size))]
        for peer in range(1, self.link.size):
            self.link.send(peer, json.dumps(every).encode())
        return every

    def header(self, ranks: Sequence[dict[str, Any]]) -> None:
        asked, name = self.asked, self.operation.name
        self.say("# SIMULATED: nccl-tests of virtual Sparks")
        self.say(f"# nccl-tests version {VERSION} nccl-headers=22803 nccl-library=22803")
        self.say(f"# Collective test starting: {name}_perf")
        self.say(
            f"# nThread 1 nGpus {asked.ngpus} minBytes {asked.minbytes} maxBytes {asked.maxbytes} step: "
            f"{asked.stepfactor}(factor) warmup iters: {asked.warmup_iters} iters: {asked.iters} agg iters: 1 "
            f"validation: {asked.check} graph: 0 unalign: 0"
        )
        self.say("#\n# Using devices")
        for number, one in enumerate(ranks):
            self.say(
                f"#  Rank {number:2d} Group  0 Pid {one['pid']:6d} on {one['host']:>10s} device  0 [000f:01:00] "
                "NVIDIA GB10 (SIMULATED)"
            )

    def columns(self) -> None:
        def line(words: Sequence[str], units: Sequence[str]) -> str:
            figures = f"{units[0]:>7s}  {units[1]:>6s}  {units[2]:>6s}  {units[3]:>6s}"
            size, count, kind, operation, root = words
            return f"# {size:>10s}  {count:>12s}  {kind:>8s}  {operation:>6s}  {root:>6s}  {figures}  {figures}"

        self.say("#")
        self.say(f"# {'':>50s}           out-of-place                       in-place          ")
        self.say(line(("size", "count", "type", "redop", "root"), ("time", "algbw", "busbw", "#wrong")))
        self.say(line(("(B)", "(elements)", "", "", ""), ("(us)", "(GB/s)", "(GB/s)", "")))

    def connect(self, chosen: transport.Transport, ranks: Sequence[dict[str, Any]]) -> None:
        """One connection for each pair of devices, as far as all ranks have them."""
        if any(one["kind"] != "IB" for one in ranks):
            return
        if os.environ.get("NCCL_IB_SUBNET_AWARE_ROUTING") == "1":
            self.wires = [wire.Wire(self.link, chosen.addresses, True)]
            return
        fewest = min(len(one["devices"]) for one in ranks)
        self.wires = [wire.Wire(self.link, [address], False) for address in chosen.addresses[:fewest]]

    def carry(self, size: int) -> None:
        """Send some bytes over each connection, and check them: this is what stands still on a dead cable."""
        data = os.urandom(max(1, min(size, PIECE)))
        for way in self.wires or [self.link]:
            if len(way.shift(data)) != len(data):
                raise transport.NcclError("ncclSystemError: a message came shorter than it was sent")

    def row(self, size: int, speed: float, latency_us: float) -> tuple[float, bool]:
        """Print one size. Returns its busbw, and whether values were wrong."""
        ranks, one = self.link.size, self.operation
        count, size = one.count(size, ranks), one.size(size, ranks)
        factor = one.factor(ranks)
        time_us = latency_us + size * factor / (speed * 1e3)
        algbw = size / time_us / 1e3
        wrong = self.wrong if size >= 1 << 20 else 0
        figures = f"  {fixed(time_us, 7):>7s}  {fixed(algbw, 6):>6s}  {fixed(algbw * factor, 6):>6s}"
        place = f"{figures}  {wrong:>6g}{figures}  " + (f"{wrong:>6g}" if one.in_place else "   N/A")
        self.say(f"{size:12d}  {count:12d}  {'float':>8s}  {'sum' if one.reduces else 'none':>6s}  {-1:>6d}{place}")
        return algbw * factor, bool(wrong)

    def measure(self) -> None:
        """The whole program."""
        env = transport.with_files(os.environ, node.NCCL_FILES)
        nccl.load()
        if self.link.rank == 0:
            log.raw(node.NCCL_VERSION)
        chosen = transport.decide(env, transport.look())
        for line in chosen.lines:
            self.nccl_says("INFO", line)
        mtus = [mtu_of(device) for device in chosen.devices] if chosen.kind == "IB" else []
        about = {"host": self.host, "pid": os.getpid(), "kind": chosen.kind, "devices": chosen.devices, "mtus": mtus}
        ranks = self.all_of(about)
        self.header(ranks)
        self.connect(chosen, ranks)
        self.columns()
        speed = peak(ranks)
        latency = RDMA_US if self.wires else TCP_US
        reached, wrong, size = [], 0, self.asked.minbytes
        while size <= self.asked.maxbytes:
            self.carry(size)
            busbw, spoilt = self.row(size, speed, latency)
            reached.append(busbw)
            wrong += spoilt
            size *= max(2, self.asked.stepfactor)
        bad = self.wrong * wrong
        self.say(f"# {'Out of bounds values':<20s} : {bad} {'FAILED' if bad else 'OK'}")
        self.say(f"# {'Avg bus bandwidth':<20s} : {sum(reached) / max(1, len(reached)):g} ")
        self.say(f"#\n# Collective test concluded: {self.operation.name}_perf")


def main(argv: Sequence[str], link: Link | None = None) -> int:
    """Run one rank. Returns the exit status, of the real one's kind."""
    operation = OPERATIONS[argv[0]]
    asked = parse(argv[1:])
    if link is None:
        from tensorrt_llm.simulation.mpi import MpiLink

        link = MpiLink()
    rank = Rank(link, operation, asked)
    try:
        rank.measure()
    except (transport.NcclError, OSError) as error:
        rank.nccl_says("WARN", str(error).partition(": ")[2] or str(error))
        log.raw(f"{rank.host}: Test NCCL failure common.cu:{os.getpid() % 1000} 'unhandled system error'")
        time.sleep(0.2)  # for the others' last words
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
