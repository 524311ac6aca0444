# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a measurement by nccl-tests means, and its mend. Pure functions.

The thresholds, all in GB/s of 10**9 bytes: NVIDIA's own test of Sparks wants 21.875 (175 Gbit/s) of all_gather over one
cable or a switch, and 10 on a ring (dgx-spark-playbooks, spark_cluster_setup.py). On one cable 22.7 and 23.2 were
published with jumbo frames, 20.5 with an MTU of 1500, some 11 over one half of the cable, and 1.6 for the ConnectX-7 in
its bad state. For all_reduce and sendrecv nobody publishes one: a tenth less is allowed.

This plugin util is private to the collection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._nccl.output import Figures, Output, Row

WANTED, WANTED_ON_A_RING = 21.875, 10.0
ALLOWANCE = 0.9  # of what is wanted of all_gather, for the other operations
JUDGED_FROM = 256 << 20  # bytes: below, the latency has its part in the figure
JUMBO = 4200  # of an Ethernet frame, that RoCE's own MTU of 4096 fits into
BAD_STATE = 0.15  # of what is wanted, and less
HALF = 0.65  # likewise
SLOW_US = 200.0  # of the smallest size; by RDMA 20 to 80 were published

RDMA, SOCKET = "IB", "Socket"
#: words of CUDA, NCCL and the loader, and their mend; the first that is found counts
CAUSES = (
    (
        ("ibv_reg_mr", "Cannot allocate memory"),
        "the ranks may not lock enough memory: see 'ulimit -l' in their container and the memlock of Docker's daemon",
    ),
    (
        ("ibv_modify_qp",),
        "the RoCE devices of the ranks do not reach each other: see that each half has its address, that both ends "
        "have the same MTU, and that NCCL_IB_GID_INDEX is set nowhere",
    ),
    (
        ("no kernel image is available",),
        "the programs were built for another GPU than this: run the undo of nccl_tests, and the play again",
    ),
    (
        ("Connection closed by remote peer", "noticed that process rank"),
        "a rank ended first: see 'dmesg' on its Spark, for what ended it (memory, or an Xid of the GPU), and 'ethtool'",
    ),
    (("out of memory",), "the memory does not suffice: end what serves, or lower nccl_tests_max_bytes"),
    (("no socket interface found",), "NCCL_SOCKET_IFNAME names a network device that is not there: run cx7_network"),
    (
        ("Failed to initialize any NET plugin",),
        "NCCL found no RoCE device: run verify of cx7_network, and see that the container has /dev/infiniband",
    ),
    (
        ("error while loading shared libraries",),
        "the programs of nccl-tests do not fit the image: run the undo of nccl_tests, and the play again",
    ),
)


@dataclass(frozen=True)
class Link:
    """One link of a member, as it was read before the measurement."""

    netdev: str
    rdma_device: str
    mtu: int = 0  # 0 where it was not told
    carrier: bool = True


@dataclass(frozen=True)
class Asked:
    """What was planned."""

    members: Sequence[str]  # the names of the nodes to MPI, leader first
    links: Mapping[str, Sequence[Link]] = field(default_factory=dict)  # by such a name
    ring: bool = False
    min_busbw: float = 0.0  # GB/s; 0 for the threshold of the topology
    require_rdma: bool = True


@dataclass(frozen=True)
class Ran:
    """How one program ended."""

    output: Output
    status: int = 0
    timed_out: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Problem:
    """What is wrong, by a word for programs and a sentence with the mend for people."""

    what: str
    text: str


def wanted(asked: Asked, operation: str) -> float:
    """The bus bandwidth in GB/s that the largest sizes must reach.

    >>> wanted(Asked(["a", "b"]), "all_gather"), wanted(Asked(["a", "b"], ring=True), "all_gather")
    (21.875, 10.0)
    >>> wanted(Asked(["a", "b"], min_busbw=5), "all_gather"), wanted(Asked(["a", "b"], min_busbw=5), "sendrecv")
    (5, 4.5)
    """
    least = asked.min_busbw or (WANTED_ON_A_RING if asked.ring else WANTED)
    return least * (1 if operation == "all_gather" else ALLOWANCE)


def figures(row: Row) -> list[Figures]:
    """Those of a row that say something: sendrecv has none in place, and prints some all the same."""
    return (
        [row.out_of_place]
        if row.in_place.wrong is None and row.out_of_place.wrong is not None
        else [
            row.out_of_place,
            row.in_place,
        ]
    )


def best(output: Output) -> float | None:
    """The best bus bandwidth in GB/s of the sizes that are judged, None where none of these was measured."""
    judged = [one.busbw for row in output.rows if row.size >= JUDGED_FROM for one in figures(row)]
    return max(judged) if judged else None


def latency_us(output: Output) -> float | None:
    """Microseconds of the smallest size, out of place."""
    # An operation that parts its bytes among the ranks prints size 0 for what is too small for that, and does nothing.
    first = min((row for row in output.rows if row.size), key=lambda row: row.size, default=None)
    return first.out_of_place.time_us if first else None


def problems(ran: Mapping[str, Ran], asked: Asked) -> list[Problem]:
    """All that is wrong, the cause of other things first; empty where nothing is.

    A TCP transport, a half that is down and a small MTU slow every operation down, so that each is told once.
    """
    found = [*_broken(ran, asked), *_of_network(ran, asked)]
    if not found:
        found = list(_slow(ran, asked))
    return found


def doubts(ran: Mapping[str, Ran], asked: Asked) -> list[str]:
    """What is no fault, and worth knowing, a sentence each."""
    said = []
    for name, one in ran.items():
        slow = latency_us(one.output)
        by_rdma = all(network.transport == RDMA for network in one.output.networks.values())
        if slow is not None and slow > SLOW_US and by_rdma:
            said.append(
                f"{name}: the smallest message takes {slow:g} µs, and 20 to 80 are usual over RDMA: see that the "
                "processors are not busy, which keeps small messages waiting"
            )
        if one.output.reduced_to:
            said.append(
                f"{name}: the memory that is free allows {one.output.reduced_to >> 20} MiB at most, so that larger "
                "sizes were left out"
            )
        if one.output.whole and best(one.output) is None:
            said.append(
                f"{name}: no size from {JUDGED_FROM >> 20} MiB on was measured, so that its speed is not judged "
                "(nccl_tests_max_bytes)"
            )
    small = _small_mtu(asked)
    if small:
        said.append(f"{small}: RoCE then sends 1024 bytes a packet, and some 10 % are lost")
    return said


def _broken(ran: Mapping[str, Ran], asked: Asked) -> Iterator[Problem]:
    """What kept a program from its end, and values that are not what they should be."""
    for name, one in ran.items():
        if one.timed_out:
            yield Problem("hang", f"{name} stood still: {_hang(one, asked)}")
        elif not one.output.whole:
            yield Problem("failed", f"{name} did not come to its end: {_why(one)}")
        if one.output.wrong:
            yield Problem(
                "wrong values",
                f"{name}: {one.output.wrong} values are wrong, first at {_first_wrong(one.output)}. No model can be "
                "trusted on these Sparks: look for errors of the GPU ('dmesg | grep -i xid'), of the links ('ethtool "
                "-S') and reseat the cable, compare the versions of the driver and of the firmware on all Sparks, and "
                "measure again",
            )


def _hang(one: Ran, asked: Asked) -> str:
    rows = [row for row in one.output.rows if row.size]
    at = f"after the size of {rows[-1].size} bytes" if rows else "before its first size"
    silent = [name for name in asked.members if one.output.networks and name not in one.output.networks]
    who = f", and {' and '.join(silent)} named no network" if silent else ""
    if not rows:
        mend = (
            "the ranks wait for each other: check that no firewall is between the Sparks on the fabric (NCCL takes any "
            "port), and that each half of the cable reaches its peer, by verify of cx7_network"
        )
    else:
        mend = (
            "a link went away, or a rank with it: see 'ethtool' and 'dmesg' on all Sparks, and whether one of them has "
            "a GPU that is busy at a low power ('nvidia-smi')"
        )
    errors = f". NCCL said: {'; '.join(one.output.errors)}" if one.output.errors else ""
    return f"it was ended after {one.seconds:.0f} s, {at}{who}: {mend}{errors}"


def _why(one: Ran) -> str:
    text = " ".join(one.output.errors)
    means = next((mend for words, mend in CAUSES if any(word in text for word in words)), "")
    without = [f"{name}: {network.why}" for name, network in one.output.networks.items() if network.why]
    said = "; ".join([*one.output.errors, *without]) or f"it ended with {one.status} and said nothing of it"
    return f"{said}{': ' + means if means else ''}"


def _first_wrong(output: Output) -> str:
    row = next((row for row in output.rows if any(one.wrong for one in (row.out_of_place, row.in_place))), None)
    return f"{row.size} bytes" if row else "a size that was not printed"


def _of_network(ran: Mapping[str, Ran], asked: Asked) -> Iterator[Problem]:
    """TCP in the place of RDMA, and halves that are not used."""
    told: set[str] = set()
    for one in ran.values():
        for name, network in one.output.networks.items():
            if name in told or name not in asked.members:
                continue
            planned = list(dict.fromkeys(link.rdma_device for link in asked.links.get(name, [])))
            unused = [device for device in planned if network.devices and device not in network.devices]
            if network.transport != RDMA and asked.require_rdma and planned:
                told.add(name)
                yield Problem(
                    "tcp", f"{name} talks over {_spoken(network.transport)} and not over RDMA: {_tcp(network.why)}"
                )
            elif network.transport == RDMA and unused:
                told.add(name)
                yield Problem("half down", _half(name, unused, asked.links.get(name, [])))


def _spoken(transport: str) -> str:
    return "TCP" if transport == SOCKET else transport


def _tcp(why: str) -> str:
    if why:
        return why
    return (
        "check that the container has /dev/infiniband, and that the RoCE devices are active ('ibdev2netdev'), by "
        "verify of cx7_network; what ranks say to each other takes some 10 times as long by TCP"
    )


def _half(name: str, unused: Sequence[str], links: Sequence[Link]) -> str:
    down = [link.netdev for link in links if link.rdma_device in unused and not link.carrier]
    state = f" ({', '.join(down)} has no carrier)" if down else ""
    return (
        f"{name} does not use {' and '.join(unused)}{state}, so that NCCL has a part of the cable's bandwidth: reseat "
        "the cable, see 'ibdev2netdev' and 'ethtool', and run cx7_network, which gives both halves their addresses"
    )


def _small_mtu(asked: Asked) -> str:
    """Which links have a small MTU, in words; empty where none has."""
    small = {
        name: sorted({f"{link.netdev} {link.mtu}" for link in links if 0 < link.mtu < JUMBO})
        for name, links in asked.links.items()
    }
    said = "; ".join(f"{name}: {', '.join(links)}" for name, links in small.items() if links)
    return f"the MTU is below {JUMBO} ({said})" if said else ""


def _slow(ran: Mapping[str, Ran], asked: Asked) -> Iterator[Problem]:
    """Too little bandwidth, where nothing that was said explains it."""
    for name, one in ran.items():
        reached, least = best(one.output), wanted(asked, name)
        if reached is None or reached >= least:
            continue
        said = f"{name} reaches {reached:g} GB/s of bus bandwidth, and {least:g} are wanted"
        small, share = _small_mtu(asked), reached / least
        if share <= BAD_STATE:
            yield Problem(
                "bad state",
                f"{said}: this is what a ConnectX-7 gives in its bad state on a sound link, or TCP. Measure each half "
                "by verify of cx7_network; reboot all Sparks with the cable in, and if that does not help, take the "
                "power out of them for a minute",
            )
        elif share <= HALF and not asked.ring:
            yield Problem(
                "half down",
                f"{said}: this is about half, as one half of the cable gives, or two whose PCIe links are narrow. Run "
                "verify of cx7_network, which measures each half by itself",
            )
        elif small:
            yield Problem(
                "mtu",
                f"{said}: {small}. Run cx7_network with its own MTU of 9000, on a switch there too",
            )
        else:
            yield Problem(
                "slow",
                f"{said}: check that nothing else uses the fabric, the GPU or the processor now, and measure again, "
                "or set nccl_tests_min_busbw to what you accept",
            )


def outcome(found: Sequence[Problem]) -> str:
    """In a word: ``sound``, or what is wrong first."""
    return found[0].what if found else "sound"


def summary(ran: Mapping[str, Ran], asked: Asked) -> list[dict[str, Any]]:
    """By operation what is judged: ``operation``, ``busbw``, ``wanted``, ``latency_us``, ``whole``, ``wrong``."""
    return [
        {
            "operation": name,
            "busbw": best(one.output),
            "wanted": round(wanted(asked, name), 3),
            "latency_us": latency_us(one.output),
            "seconds": round(one.seconds, 1),
            "whole": one.output.whole,
            "wrong": one.output.wrong,
        }
        for name, one in ran.items()
    ]
