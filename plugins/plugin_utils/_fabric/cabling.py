# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find out which cages are joined, from the carrier of the ports and the neighbors that were found there.

This plugin util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import itertools
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Sequence, Tuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.hotplug import is_on

CAGE_NAMES = {0: "cage 0 (next to the RJ-45 socket)", 1: "cage 1 (away from the RJ-45 socket)"}

Link = Dict[str, Any]  # one entry of ibdev2netdev_info's links
Cage = Dict[str, Link]  # a QSFP cage: half -> link
End = Tuple[str, int]  # a member's name and the number of its cage
Segment = List[End]  # the cages that one cable, or one switch, joins
Cables = Sequence[Sequence[str]]


class FabricError(ValueError):
    """No fabric can be planned of this; the message names the hosts and the mend."""


class Member(NamedTuple):
    """One host of the group, and what was discovered on it."""

    name: str
    management: str
    cages: dict[int, Cage]
    networks: list[tuple[ipaddress.IPv4Network, str]]  # in use, and by which netdev
    neighbors: dict[int, list[tuple[str, int]]] | None  # cage -> (machine, cage there); None where none was looked for
    netplan_conflicts: list[dict[str, Any]]  # what other netplan files say of the ConnectX-7's netdevs
    own_mtus: frozenset[int] = frozenset()  # that the fabric's own netplan file sets now
    renderers: Mapping[str, str] = {}  # netdev -> networkd or NetworkManager
    netplan_problem: str = ""  # why netplan takes none of its files
    hotplug: Mapping[str, Any] = {}  # the driver that takes a card without a live cable off the PCI bus


class Cabling(NamedTuple):
    """Which cages are joined, and which netdevs must be raised before that is certain."""

    topology: str
    segments: list[Segment]
    admin_down: dict[str, list[str]]


def find_cabling(hosts: Sequence[Member], topology: str, stated: Cables) -> Cabling:
    """Return the topology and its segments; half A of the first segment carries the control addresses.

    A port that is administratively down tells nothing of its cable. Where there are some, and the other ports make no
    fabric, the usual cabling is assumed, and ``admin_down`` says what to raise before the plan is made again.

    :param stated: how the cables run according to the user, each as two ends ``name:cage``; empty for unknown.
    :raises FabricError: where the ports and cables make no fabric.
    """
    cables = _parse_cables(stated, hosts)
    with_carrier: dict[str, list[int]] = {}
    no_carrier: dict[str, str] = {}
    admin_down: dict[str, list[str]] = {}
    gone = [_no_card(host.name, host.hotplug) for host in hosts if not host.cages]
    if gone:
        raise FabricError("; ".join(gone))
    for host in hosts:
        with_carrier[host.name], admin_down[host.name], reason = read_carriers(host.name, host.cages)
        if reason:
            no_carrier[host.name] = reason
    admin_down = {name: netdevs for name, netdevs in admin_down.items() if netdevs}
    problems = [reason for name, reason in no_carrier.items() if name not in admin_down]
    if problems:
        raise FabricError("; ".join(problems))
    if not no_carrier:
        try:
            return Cabling(*_from_neighbors(hosts, topology, cables, with_carrier), {})
        except FabricError:
            if not admin_down:
                raise
    return Cabling(*_usual(hosts, topology, cables, _maybe_with_carrier(hosts)), admin_down)


def read_carriers(host: str, cages: Mapping[int, Cage]) -> tuple[list[int], list[str], str]:
    """Return the cages with carrier, the netdevs that are administratively down, and why no cage has carrier.

    :raises FabricError: where one half of a cage has a signal and the other half, which is up too, has none.
    """
    with_carrier: list[int] = []
    no_carrier: list[int] = []
    admin_down: list[str] = []
    for number, cage in cages.items():
        # One cable carries both halves, so one half's carrier tells of a half that is administratively down.
        silent = [link["netdev"] for link in cage.values() if link["admin_up"] and not link["carrier"]]
        down = [link["netdev"] for link in cage.values() if not link["admin_up"]]
        if any(link["carrier"] for link in cage.values()):
            if silent:
                raise FabricError(
                    f"{host}: one half of {cage_name(number)} has a signal, but {', '.join(silent)} has none: reseat "
                    "the QSFP cable at both ends; if that does not help, reboot both Sparks with the cable in"
                )
            with_carrier.append(number)
        elif down:
            admin_down.extend(down)
        else:
            no_carrier.append(number)
    if with_carrier:
        return with_carrier, admin_down, ""
    return (
        with_carrier,
        admin_down,
        f"{host} has no live QSFP cable (no carrier in {' and '.join(f'cage {number}' for number in no_carrier)}): "
        "plug the cable into the cage next to the RJ-45 socket of each Spark until it clicks, and check that the Spark "
        "at its other end is switched on",
    )


def _no_card(host: str, hotplug: Mapping[str, Any]) -> str:
    """Return why a host has no ConnectX-7, and the mend."""
    if is_on(hotplug) and hotplug.get("cable"):
        return (
            f"{host} shows no ConnectX-7 port, although the hot-plug driver of this DGX OS sees a cable: wait a minute "
            "and run again; if it is still gone, reboot the Spark with the cable in"
        )
    if is_on(hotplug):
        return (
            f"{host} shows no ConnectX-7 port: plug the QSFP cable in at both ends until it clicks, and switch on the "
            "Spark at its other end. This DGX OS switches the card off without one, and on again a few seconds after "
            "it is in"
        )
    return (
        f"{host} shows no ConnectX-7 port at all: plug the QSFP cable in, since some versions of DGX OS switch the "
        "card off without one; if it has one, check whether the host is a DGX Spark, and reboot it with the cable in"
    )


def cage_name(number: int) -> str:
    """Return a cage's number and where it is on the rear panel."""
    return CAGE_NAMES.get(number, f"cage {number}")


def _maybe_with_carrier(hosts: Sequence[Member]) -> dict[str, list[int]]:
    return {
        host.name: [
            number
            for number, cage in host.cages.items()
            if any(link["carrier"] or not link["admin_up"] for link in cage.values())
        ]
        for host in hosts
    }


# ---- what the user says


def _parse_cables(stated: Cables, hosts: Sequence[Member]) -> list[Segment]:
    cages = {host.name: host.cages for host in hosts}
    rank = {host.name: number for number, host in enumerate(hosts)}
    used: set[End] = set()
    parsed = []
    for cable in stated:
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


def _sorted(segments: Iterable[Segment], rank: Mapping[str, int]) -> list[Segment]:
    # By the ranks of both ends, then by cage, so that a further host at the end of the ranks moves no addresses.
    return sorted(
        (sorted(ends, key=lambda end: (rank[end[0]], end[1])) for ends in segments),
        key=lambda ends: ([rank[name] for name, _cage in ends], [cage for _name, cage in ends]),
    )


# ---- what the neighbors say


def _from_neighbors(
    hosts: Sequence[Member], topology: str, cables: list[Segment], with_carrier: dict[str, list[int]]
) -> tuple[str, list[Segment]]:
    if any(host.neighbors is None for host in hosts):
        if not cables:
            ends = [(name, cage) for name in with_carrier for cage in with_carrier[name]]
            _one_cage_each([host.name for host in hosts], [ends])
        return _usual(hosts, topology, cables, with_carrier)
    segments = _join_neighbors(hosts, with_carrier)
    if cables and cables != segments:
        raise FabricError(
            f"the cables run otherwise than cx7_network_cables says: it says {_in_words(cables)}, and the wires "
            f"say {_in_words(segments)}; correct one of them, or leave the variable out"
        )
    return _classify([host.name for host in hosts], topology, segments)


def _join_neighbors(hosts: Sequence[Member], with_carrier: dict[str, list[int]]) -> list[Segment]:
    """Join the cages that found one another, or refuse a cable that leads to no member."""
    owner = {link["mac"]: host.name for host in hosts for cage in host.cages.values() for link in cage.values()}
    rank = {host.name: number for number, host in enumerate(hosts)}
    group: dict[End, set[End]] = {(name, cage): {(name, cage)} for name in with_carrier for cage in with_carrier[name]}
    strangers: dict[End, set[str]] = {end: set() for end in group}
    for host in hosts:
        for cage, others in (host.neighbors or {}).items():
            for machine, there in others:
                here, other = (host.name, cage), (owner.get(machine, ""), there)
                if other not in group or here not in group:
                    strangers.setdefault(here, set()).add(machine)
                    continue
                joined = group[here] | group[other]
                for end in joined:
                    group[end] = joined
    segments = _sorted((list(ends) for ends in _distinct(group.values())), rank)
    problems = [
        _explain_unpaired_cage(segment, strangers)
        for segment in segments
        if len({name for name, _cage in segment}) == 1
    ]
    if problems:
        raise FabricError("; ".join(problems))
    return segments


def _distinct(groups: Iterable[set[End]]) -> list[set[End]]:
    found: list[set[End]] = []
    for group in groups:
        if group not in found:
            found.append(group)
    return found


def _explain_unpaired_cage(segment: Segment, strangers: Mapping[End, set[str]]) -> str:
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
        f"no Spark answers through the cable in {cage_name(cage)} of {name}, although it has a signal: plug its other "
        "end into a Spark of this inventory, or take it out; if it is in one, see 'ip -br link' there"
    )


def _in_words(segments: Iterable[Segment]) -> str:
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
            f"the cables make a {found} fabric ({_in_words(segments)}), and cx7_network_topology says {topology}: "
            "set it to auto, or cable it so"
        )
    if found == "switch":
        return found, _one_cage_each(names, segments)
    if found:
        return found, segments
    missing = [pair for pair in itertools.combinations(names, 2) if frozenset(pair) not in joined]
    if len(names) == 3 and len(joined) == 2:
        (one, other), *_rest = missing
        raise FabricError(
            f"three Sparks in a line ({_in_words(segments)}) make no fabric: join {one} and {other} by a third cable, "
            "so that they form a ring, or take a switch"
        )
    raise FabricError(
        f"these cables make no fabric of all {len(names)} hosts ({_in_words(segments)}): two Sparks take one or two "
        "cables, three a ring, and any number a switch"
    )


def _one_cage_each(names: list[str], segments: list[Segment]) -> list[Segment]:
    """Give each host one cage a segment, where several of its cables end in the same switch."""
    parts = []
    for segment in segments:
        cages = {name: [cage for other, cage in segment if other == name] for name in names}
        if len({len(own) for own in cages.values()}) > 1:
            counts = ", ".join(f"{name} {len(own)}" for name, own in cages.items())
            raise FabricError(f"the hosts do not have equally many cables ({counts}): cable all alike")
        parts.extend([list(zip(names, row)) for row in zip(*cages.values())])
    return parts


# ---- the usual cabling, where no neighbors were looked for


def _usual(
    hosts: Sequence[Member], topology: str, cables: list[Segment], with_carrier: dict[str, list[int]]
) -> tuple[str, list[Segment]]:
    names = [host.name for host in hosts]
    if topology == "auto":
        several = any(len(cages) > 1 for cages in with_carrier.values())
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
        segments = [list(zip(names, row)) for row in zip(*(with_carrier[name] for name in names))]
    missing = [end for segment in segments for end in segment if end[1] not in with_carrier[end[0]]]
    if missing:
        raise FabricError(
            "; ".join(f"{name} has no live QSFP cable in {cage_name(number)}" for name, number in missing)
            + ": plug it in, or say in cx7_network_cables how yours run"
        )
    return topology, segments
