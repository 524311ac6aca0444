# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is private to the collection: it may change at any time.
"""Tell which cages of which hosts are joined, from what their ports show and whom they heard, or refuse it."""

from __future__ import annotations

import ipaddress
import itertools
import typing as t

CAGE_NAMES = {0: "cage 0 (next to the RJ-45 socket)", 1: "cage 1 (away from the RJ-45 socket)"}

Link = t.Dict[str, t.Any]  # one entry of ibdev2netdev_info's links
Cage = t.Dict[str, Link]  # a QSFP cage: half -> link
End = t.Tuple[str, int]  # a member's name and the number of its cage
Segment = t.List[End]  # the cages that one cable, or one switch, joins
Cables = t.Sequence[t.Sequence[str]]


class FabricError(ValueError):
    """There is no fabric to be had of this; the message names the hosts and the mend."""


class Member(t.NamedTuple):
    """One host of the group, and what was discovered on it."""

    name: str
    management: str
    cages: dict[int, Cage]
    networks: list[tuple[ipaddress.IPv4Network, str]]  # in use, and by which netdev
    heard: dict[int, list[tuple[str, int]]] | None  # cage -> (machine, cage there); None where nobody asked
    claims: list[dict[str, t.Any]]  # what other netplan files say of the ConnectX-7's netdevs


class Cabling(t.NamedTuple):
    """What is joined, and what must be raised before that is certain."""

    topology: str
    segments: list[Segment]
    asleep: dict[str, list[str]]


def find_cabling(hosts: t.Sequence[Member], topology: str, told: Cables) -> Cabling:
    """Return the topology, and what joins which cages; half A of the first is the leader's way to the others.

    Where a port is administratively down, so that nobody can say what is behind it, and the rest makes no fabric, the
    usual cabling is assumed, and ``asleep`` says what to raise before planning again.
    """
    cables = _parse_cables(told, hosts)
    lit: dict[str, list[int]] = {}
    dark: dict[str, str] = {}
    asleep: dict[str, list[str]] = {}
    for host in hosts:
        lit[host.name], asleep[host.name], reason = look(host.name, host.cages)
        if reason:
            dark[host.name] = reason
    asleep = {name: netdevs for name, netdevs in asleep.items() if netdevs}
    hopeless = [reason for name, reason in dark.items() if name not in asleep]
    if hopeless:
        raise FabricError("; ".join(hopeless))
    if not dark:
        try:
            return Cabling(*_certain(hosts, topology, cables, lit), {})
        except FabricError:
            if not asleep:
                raise
    return Cabling(*_assumed(hosts, topology, cables, _maybe_lit(hosts)), asleep)


def look(host: str, cages: t.Mapping[int, Cage]) -> tuple[list[int], list[str], str]:
    """Return the cages with a live cable, the netdevs of those that are administratively down, and why there is none.

    A half that is up and has no signal while its sister has one is refused.
    """
    if not cages:
        raise FabricError(
            f"{host} shows no ConnectX-7 port at all: see whether it is a DGX Spark, and whether its driver is loaded "
            "('ls /sys/class/infiniband' must list four devices)"
        )
    lit: list[int] = []
    dark: list[int] = []
    asleep: list[str] = []
    for number, cage in cages.items():
        # One cable carries both halves, so one half's carrier tells of a half that is administratively down.
        silent = [link["netdev"] for link in cage.values() if link["admin_up"] and not link["carrier"]]
        sleeping = [link["netdev"] for link in cage.values() if not link["admin_up"]]
        if any(link["carrier"] for link in cage.values()):
            if silent:
                raise FabricError(
                    f"{host}: one half of {cage_name(number)} has a signal, but {', '.join(silent)} has none: reseat "
                    "the QSFP cable at both ends; if that does not help, shut the Spark down and take its power away "
                    "for a minute"
                )
            lit.append(number)
        elif sleeping:
            asleep.extend(sleeping)
        else:
            dark.append(number)
    if lit:
        return lit, asleep, ""
    return (
        lit,
        asleep,
        f"{host} has no live QSFP cable (no carrier in {' and '.join(f'cage {number}' for number in dark)}): plug the "
        "cable into the cage next to the RJ-45 socket of each Spark until it clicks, and see that the Spark at its "
        "other end is switched on",
    )


def cage_name(number: int) -> str:
    """Return where to look for a cage."""
    return CAGE_NAMES.get(number, f"cage {number}")


def _maybe_lit(hosts: t.Sequence[Member]) -> dict[str, list[int]]:
    return {
        host.name: [
            number
            for number, cage in host.cages.items()
            if any(link["carrier"] or not link["admin_up"] for link in cage.values())
        ]
        for host in hosts
    }


# ---- what the user says


def _parse_cables(told: Cables, hosts: t.Sequence[Member]) -> list[Segment]:
    cages = {host.name: host.cages for host in hosts}
    rank = {host.name: number for number, host in enumerate(hosts)}
    used: set[End] = set()
    parsed = []
    for cable in told:
        where = f"cable {list(cable)!r}"
        if len(cable) != 2:
            raise FabricError(f"{where} has not two ends: write [name:cage, name:cage]")
        ends: Segment = []
        for end in cable:
            name, _colon, number = str(end).rpartition(":")
            if name not in cages:
                raise FabricError(f"{where}: {end!r} names none of {', '.join(cages)}: write [name:cage, name:cage]")
            if not number.isdecimal() or int(number) not in cages[name]:
                raise FabricError(
                    f"{where}: {end!r} names no cage that {name} has (it has {', '.join(map(str, cages[name]))})"
                )
            ends.append((name, int(number)))
        if ends[0][0] == ends[1][0]:
            raise FabricError(f"{where} joins {ends[0][0]} with itself: a cable joins two hosts")
        for host, cage in ends:
            if (host, cage) in used:
                raise FabricError(f"{where}: cage {cage} of {host} has a cable already: a cage takes one")
            used.add((host, cage))
        parsed.append(ends)
    return _sorted(parsed, rank)


def _sorted(segments: t.Iterable[Segment], rank: t.Mapping[str, int]) -> list[Segment]:
    # By who is joined, then by cage: a host more at the end of the ranks moves nobody's addresses.
    return sorted(
        (sorted(ends, key=lambda end: (rank[end[0]], end[1])) for ends in segments),
        key=lambda ends: ([rank[name] for name, _cage in ends], [cage for _name, cage in ends]),
    )


# ---- what the wires say


def _certain(
    hosts: t.Sequence[Member], topology: str, cables: list[Segment], lit: dict[str, list[int]]
) -> tuple[str, list[Segment]]:
    if any(host.heard is None for host in hosts):
        if not cables:
            _even([host.name for host in hosts], [[(name, cage) for name in lit for cage in lit[name]]])
        return _assumed(hosts, topology, cables, lit)
    segments = _heard(hosts, lit)
    if cables and cables != segments:
        raise FabricError(
            f"the cables run otherwise than cx7_network_cables says: it says {_say(cables)}, and the wires say "
            f"{_say(segments)}; correct one of them, or leave the variable out"
        )
    return _classify([host.name for host in hosts], topology, segments)


def _heard(hosts: t.Sequence[Member], lit: dict[str, list[int]]) -> list[Segment]:
    """Join the cages that heard one another, or refuse a cable that leads nowhere."""
    owner = {link["mac"]: host.name for host in hosts for cage in host.cages.values() for link in cage.values()}
    rank = {host.name: number for number, host in enumerate(hosts)}
    group: dict[End, set[End]] = {(name, cage): {(name, cage)} for name in lit for cage in lit[name]}
    strangers: dict[End, set[str]] = {end: set() for end in group}
    for host in hosts:
        for cage, others in (host.heard or {}).items():
            for machine, there in others:
                here, other = (host.name, cage), (owner.get(machine, ""), there)
                if other not in group or here not in group:
                    strangers.setdefault(here, set()).add(machine)
                    continue
                joined = group[here] | group[other]
                for end in joined:
                    group[end] = joined
    segments = _sorted((list(ends) for ends in _distinct(group.values())), rank)
    faults = [_lonely(segment, strangers) for segment in segments if len({name for name, _cage in segment}) == 1]
    if faults:
        raise FabricError("; ".join(faults))
    return segments


def _distinct(groups: t.Iterable[set[End]]) -> list[set[End]]:
    found: list[set[End]] = []
    for group in groups:
        if group not in found:
            found.append(group)
    return found


def _lonely(segment: Segment, strangers: t.Mapping[End, set[str]]) -> str:
    name, cage = segment[0]
    if len(segment) > 1:
        return (
            f"cage 0 and cage 1 of {name} are joined with one another: plug one end of that cable into the Spark that "
            f"{name} is to be joined with"
        )
    others = strangers.get((name, cage))
    if others:
        return (
            f"the cable in {cage_name(cage)} of {name} leads to a machine that is not among the members (it calls "
            f"itself {min(others)}): add it to the inventory, or take that cable out"
        )
    return (
        f"nobody answers through the cable in {cage_name(cage)} of {name}, although it has a signal: plug its other "
        "end into a Spark of this inventory, or take it out; if it is in one, see 'ip -br link' there"
    )


def _say(segments: t.Iterable[Segment]) -> str:
    return ", ".join("-".join(f"{name}:{cage}" for name, cage in segment) for segment in segments) or "nothing"


def _classify(names: list[str], topology: str, segments: list[Segment]) -> tuple[str, list[Segment]]:
    """Name the topology that these segments make, or refuse them with what is missing."""
    pairs = [segment for segment in segments if len(segment) == 2]
    joined = {frozenset(name for name, _cage in pair) for pair in pairs}
    switched = all({name for name, _cage in segment} == set(names) for segment in segments)
    found = ""
    if len(pairs) == len(segments) and len(names) == 2:
        found = "direct"
    elif len(pairs) == len(segments) == len(joined) == 3 == len(names):
        found = "ring"
    elif switched:
        found = "switch"
    if topology == "switch" and switched:
        found = "switch"  # between two hosts nothing tells a switch from a cable
    if topology not in ("auto", found) and found:
        raise FabricError(
            f"the cables make a {found} fabric ({_say(segments)}), and cx7_network_topology says {topology}: "
            "set it to auto, or cable it so"
        )
    if found == "switch":
        return found, _even(names, segments)
    if found:
        return found, segments
    missing = [pair for pair in itertools.combinations(names, 2) if frozenset(pair) not in joined]
    if len(names) == 3 and len(joined) == 2:
        (one, other), *_rest = missing
        raise FabricError(
            f"three Sparks in a line ({_say(segments)}) make no fabric: join {one} and {other} by a third cable, so "
            "that they form a ring, or take a switch"
        )
    raise FabricError(
        f"these cables make no fabric of all {len(names)} hosts ({_say(segments)}): two Sparks take one or two cables, "
        "three a ring, and any number a switch"
    )


def _even(names: list[str], segments: list[Segment]) -> list[Segment]:
    """Give each host one cage a segment, where several of its cables end in the same switch."""
    parts = []
    for segment in segments:
        cages = {name: [cage for other, cage in segment if other == name] for name in names}
        if len({len(own) for own in cages.values()}) > 1:
            counts = ", ".join(f"{name} {len(own)}" for name, own in cages.items())
            raise FabricError(f"the hosts do not have equally many cables ({counts}): cable all alike")
        parts.extend([list(zip(names, row)) for row in zip(*cages.values())])
    return parts


# ---- what is usual, where nobody listened


def _assumed(
    hosts: t.Sequence[Member], topology: str, cables: list[Segment], lit: dict[str, list[int]]
) -> tuple[str, list[Segment]]:
    names = [host.name for host in hosts]
    if topology == "auto":
        several = any(len(cages) > 1 for cages in lit.values())
        topology = "direct" if len(names) == 2 else "ring" if len(names) == 3 and several else "switch"
    if topology != "switch" and len(names) != {"direct": 2, "ring": 3}[topology]:
        takes = {"direct": "two hosts", "ring": "three hosts"}[topology]
        raise FabricError(f"a {topology} fabric joins {takes}, and there are {len(names)}: set topology to auto")
    if topology == "switch" and cables:
        raise FabricError("cables are for hosts that are cabled to one another: leave them out with a switch")
    if cables:
        segments = cables
    elif topology == "ring":  # as NVIDIA's recipe cables it: cage 0 of each to cage 1 of the next
        rank = {name: number for number, name in enumerate(names)}
        segments = _sorted(([(name, 0), (names[(rank[name] + 1) % 3], 1)] for name in names), rank)
    else:
        segments = [list(zip(names, row)) for row in zip(*(lit[name] for name in names))]
    missing = [end for segment in segments for end in segment if end[1] not in lit[end[0]]]
    if missing:
        raise FabricError(
            "; ".join(f"{name} has no live QSFP cable in {cage_name(number)}" for name, number in missing)
            + ": plug it in, or say in cx7_network_cables how yours run"
        )
    return topology, segments
