# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is private to the collection: it may change at any time.
"""Plan the fabric of a group of DGX Sparks: who is cabled to whom, and which half gets which address.

Pure functions over what was discovered on every member: the same input gives every member the same plan.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
import typing as t

TOPOLOGIES = ("auto", "direct", "ring", "switch")
POOL = ("192.168.100.0/22", "10.100.100.0/22", "172.30.100.0/22")
FIRST_HOST = 10  # the leader's last octet; each member's follows from its rank alone
CAGE_NAMES = {0: "cage 0 (next to the RJ-45 socket)", 1: "cage 1 (away from the RJ-45 socket)"}

Link = t.Dict[str, t.Any]  # one entry of ibdev2netdev_info's links
Cage = t.Dict[str, Link]  # a QSFP cage: half -> link
End = t.Tuple[str, int]  # a member's name and the number of its cage
Segment = t.List[End]  # the cages that one cable, or one switch, joins


class FabricError(ValueError):
    """There is no fabric to be had of this; the message names the hosts and the mend."""


class Member(t.NamedTuple):
    """One host of the group, and what was discovered on it."""

    name: str
    management: str
    cages: dict[int, Cage]
    networks: list[ipaddress.IPv4Network]


def plan_fabric(
    names: t.Sequence[str],
    members: t.Sequence[t.Mapping[str, t.Any]],
    topology: str = "auto",
    cables: t.Sequence[t.Sequence[str]] = (),
    pool: t.Sequence[str] = POOL,
) -> dict[str, t.Any]:
    """Return the plan for all members, in rank order, or refuse what cannot be a fabric.

    :param names: of all members in rank order; ``members``: what ``fabric_member_info`` says of each, in any order.
    """
    subnets = _subnets(pool)
    hosts = _members(names, members)
    if len(hosts) == 1:
        return {"topology": "single", "hosts": {hosts[0].name: _host(hosts[0], hosts[0].management, [])}}
    topology, segments = _cabling(hosts, topology, _parse_cables(cables, hosts))
    free = (net for net in subnets if not any(net.overlaps(used) for host in hosts for used in host.networks))
    links = _links(hosts, segments, free, pool)
    # Only where one subnet reaches everybody can the fabric carry what everybody must reach.
    whole = topology != "ring"
    return {
        "topology": topology,
        "hosts": {
            host.name: _host(
                host, links[host.name][0]["address"].split("/")[0] if whole else host.management, links[host.name]
            )
            for host in hosts
        },
    }


def find_drift(
    plan: t.Mapping[str, t.Any], members: t.Iterable[t.Mapping[str, t.Any]], mtu: int
) -> dict[str, list[str]]:
    """Return, by host, the netdevs that do not have the planned address and MTU now."""
    drift = {}
    known = {member["name"]: member for member in members}
    for member in (known[name] for name in plan["hosts"]):
        now = {link["netdev"]: link for link in member["links"]}
        drift[member["name"]] = list(
            dict.fromkeys(
                link["netdev"]
                for link in plan["hosts"][member["name"]]["links"]
                if link["address"] not in now[link["netdev"]]["ipv4"] or now[link["netdev"]]["mtu"] != mtu
            )
        )
    return drift


def _host(host: Member, control_address: str, links: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    return {"control_address": control_address, "fabric_name": fabric_name(host.name), "links": links}


def fabric_name(name: str) -> str:
    """Return the name that a member's control address gets in /etc/hosts; never its own name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + "-fabric"


# ---- what was discovered


def _members(names: t.Sequence[str], members: t.Sequence[t.Mapping[str, t.Any]]) -> list[Member]:
    if not names:
        raise FabricError("there are no members: name the hosts of the fabric, the leader first")
    if len(set(names)) < len(names):
        raise FabricError(f"a host is named twice among the members {', '.join(names)}: name each once")
    known = {member["name"]: member for member in members}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise FabricError(
            f"nothing is known of {', '.join(unknown)}: run without --limit, because the plan needs all of "
            f"{', '.join(names)}; if it was not left out, mend first what it failed of, or why it cannot be reached"
        )
    members = [known[name] for name in names]
    hosts = [_member(member) for member in members]
    _refuse_twins(members, hosts)
    return hosts


def _member(member: t.Mapping[str, t.Any]) -> Member:
    cages: dict[int, Cage] = {}
    for link in member["links"]:
        if link["physical_port"] is None or link["netdev"] is None:
            continue  # a bond, or InfiniBand without IP: not a cage of a Spark's ConnectX-7
        cage, half = cages.setdefault(link["physical_port"], {}), link["half"] or "A"
        if half in cage:
            raise FabricError(
                f"{member['name']}: {cage[half]['netdev']} and {link['netdev']} both claim to be half {half} of cage "
                f"{link['physical_port']}: take bonds and virtual functions off the ConnectX-7"
            )
        cage[half] = link
    own = {link["netdev"] for link in member["links"]}
    host, addresses = str(member.get("host") or ""), member.get("addresses") or []
    # What the inventory says may be a name, or the outside of a NAT: then the address of the default route.
    management = host if host in addresses else member.get("management_address") or ""
    return Member(
        name=member["name"],
        management=management or "127.0.0.1",
        cages=dict(sorted(cages.items())),
        # The fabric's own networks are ours to plan again.
        networks=[
            ipaddress.ip_network(used["network"], strict=False)
            for used in member["networks"]
            if used["netdev"] not in own
        ],
    )


def _refuse_twins(members: t.Sequence[t.Mapping[str, t.Any]], hosts: list[Member]) -> None:
    for (one, first), (other, second) in itertools.combinations(zip(members, hosts), 2):
        shared = {link["mac"] for link in one["links"]} & {link["mac"] for link in other["links"]} - {None}
        if shared:
            raise FabricError(
                f"{first.name} and {second.name} are one and the same machine (both have {min(shared)}): "
                f"give each its own ansible_host in the inventory (now {one.get('host')} and {other.get('host')})"
            )
        if first.management == second.management:
            raise FabricError(
                f"{first.name} and {second.name} both have the management address {first.management}: give each its "
                "own, and set ansible_host to it"
            )
        if fabric_name(first.name) == fabric_name(second.name):
            raise FabricError(
                f"{first.name} and {second.name} would both be called {fabric_name(first.name)}: rename one"
            )
    for host in hosts:
        if any(fabric_name(other.name) == host.name.lower() for other in hosts):
            raise FabricError(f"{host.name} is named as another host's fabric name: rename it")


# ---- who is cabled to whom


def cabled_cages(host: str, cages: t.Mapping[int, Cage]) -> list[int]:
    """Return the cages that hold a live cable, or refuse with what is to be done at this host."""
    if not cages:
        raise FabricError(
            f"{host} shows no ConnectX-7 port at all: see whether it is a DGX Spark, and whether its driver is loaded "
            "('ls /sys/class/infiniband' must list four devices)"
        )
    up: list[int] = []
    dark: list[int] = []
    asleep: list[str] = []
    for number, cage in cages.items():
        # One cable carries both halves, so one half's carrier tells of a half that is administratively down.
        silent = [link["netdev"] for link in cage.values() if link["admin_up"] and not link["carrier"]]
        sleeping = [link["netdev"] for link in cage.values() if not link["admin_up"]]
        if any(link["carrier"] for link in cage.values()):
            if silent:
                raise FabricError(
                    f"{host}: one half of {_cage(number)} has a signal, but {', '.join(silent)} has none: reseat the "
                    "QSFP cable at both ends; if that does not help, shut the Spark down and take its power away for a "
                    "minute"
                )
            up.append(number)
        elif sleeping:
            asleep.extend(sleeping)
        else:
            dark.append(number)
    if up:
        return up
    mends = []
    if dark:
        mends.append(
            f"no carrier in {' and '.join(f'cage {number}' for number in dark)}: plug the cable into the cage next to "
            "the RJ-45 socket of each Spark until it clicks, and see that the Spark at its other end is switched on"
        )
    if asleep:
        mends.append(
            f"{', '.join(asleep)} administratively down, so that no cable can be seen there: "
            f"'sudo ip link set {asleep[0]} up', likewise any other, and run again"
        )
    raise FabricError(f"{host} has no live QSFP cable ({'; or '.join(mends)})")


def _cage(number: int) -> str:
    return CAGE_NAMES.get(number, f"cage {number}")


def _parse_cables(cables: t.Sequence[t.Sequence[str]], hosts: list[Member]) -> list[Segment]:
    cages = {host.name: host.cages for host in hosts}
    used: set[End] = set()
    parsed = []
    for cable in cables:
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
        for name, number in ends:
            if (name, number) in used:
                raise FabricError(f"{where}: cage {number} of {name} has a cable already: a cage takes one")
            used.add((name, number))
        parsed.append(ends)
    return parsed


def _cabling(hosts: list[Member], topology: str, cables: list[Segment]) -> tuple[str, list[Segment]]:
    """Return the topology, and what joins which cages; half A of the first is the leader's way to the others."""
    live: dict[str, list[int]] = {}
    faults = []
    for host in hosts:
        try:
            live[host.name] = cabled_cages(host.name, host.cages)
        except FabricError as error:
            faults.append(str(error))
    if faults:
        raise FabricError("; ".join(faults))
    if topology == "auto":
        several = any(len(cages) > 1 for cages in live.values())
        topology = "direct" if len(hosts) == 2 else "ring" if len(hosts) == 3 and several else "switch"
    if topology == "switch":
        if cables:
            raise FabricError("cables are for hosts that are cabled to one another: leave them out with a switch")
        segments = _switched(live)
    elif len(hosts) != {"direct": 2, "ring": 3}[topology]:
        takes = {"direct": "two hosts", "ring": "three hosts"}[topology]
        raise FabricError(f"a {topology} fabric joins {takes}, and there are {len(hosts)}: set topology to auto")
    elif topology == "direct":
        segments = sorted(_from_leader(cable, hosts) for cable in cables) or _direct(live)
    else:
        segments = cables or _ring(list(live))
        if len({frozenset(name for name, _cage in cable) for cable in segments}) != 3:
            raise FabricError("these cables make no ring: join each of the three hosts with each other by one cable")
    _need_live(segments, live)
    return topology, segments


def _from_leader(cable: Segment, hosts: list[Member]) -> Segment:
    return sorted(cable, key=lambda end: end[0] != hosts[0].name)


def _direct(live: dict[str, list[int]]) -> list[Segment]:
    (one, ones), (other, others) = live.items()
    if len(ones) == len(others):
        # One cable leaves no choice. Of two, each is taken to join cages of the same number; the proof tells.
        return [[(one, a), (other, b)] for a, b in zip(ones, others)]
    more, cages, fewer = (one, ones, other) if len(ones) > len(others) else (other, others, one)
    raise FabricError(
        f"{more} has cables in cages {' and '.join(map(str, cages))}, but {fewer} in cage {live[fewer][0]} only: one "
        f"of them ends elsewhere; plug its other end into {fewer}, or take it out"
    )


def _ring(names: list[str]) -> list[Segment]:
    # As NVIDIA's recipe cables it: cage 0 of each to cage 1 of the next.
    return [[(name, 0), (names[(rank + 1) % len(names)], 1)] for rank, name in enumerate(names)]


def _switched(live: dict[str, list[int]]) -> list[Segment]:
    if len({len(cages) for cages in live.values()}) > 1:
        counts = ", ".join(f"{name} {len(cages)}" for name, cages in live.items())
        raise FabricError(f"the hosts do not have equally many cables to the switch ({counts}): cable all alike")
    return [list(zip(live, cages)) for cages in zip(*live.values())]


def _need_live(segments: list[Segment], live: dict[str, list[int]]) -> None:
    missing = [end for segment in segments for end in segment if end[1] not in live[end[0]]]
    if missing:
        raise FabricError(
            "; ".join(f"{name} has no live QSFP cable in {_cage(number)}" for name, number in missing)
            + ": plug it in, or say in the variable for cables how yours run"
        )


# ---- which half gets which address


def _subnets(pool: t.Sequence[str]) -> list[ipaddress.IPv4Network]:
    subnets: list[ipaddress.IPv4Network] = []
    for entry in pool:
        try:
            network = ipaddress.IPv4Network(entry)
        except ValueError as exc:
            raise FabricError(f"{entry!r} in the pool is no IPv4 network ({exc}): write 192.168.100.0/22") from exc
        if not 12 <= network.prefixlen <= 24 or not network.is_private:
            raise FabricError(f"{entry!r} in the pool is not a private network of /12 to /24")
        if any(network.overlaps(other) for other in subnets):
            raise FabricError(f"{entry!r} in the pool overlaps another entry of it")
        subnets.extend(network.subnets(new_prefix=24))
    return subnets


def _links(
    hosts: list[Member], segments: list[Segment], free: t.Iterator[ipaddress.IPv4Network], pool: t.Sequence[str]
) -> dict[str, list[dict[str, t.Any]]]:
    cages = {host.name: host.cages for host in hosts}
    octet = {host.name: FIRST_HOST + rank for rank, host in enumerate(hosts)}
    links: dict[str, list[dict[str, t.Any]]] = {host.name: [] for host in hosts}
    if FIRST_HOST + len(hosts) > 255:
        raise FabricError(f"{len(hosts)} hosts do not fit into one /24: plan fewer")
    for segment in segments:
        halves = sorted(cages[segment[0][0]][segment[0][1]])
        for name, number in segment:
            if sorted(cages[name][number]) != halves:
                raise FabricError(
                    f"{name} shows halves {' and '.join(sorted(cages[name][number]))} of cage {number}, but "
                    f"{segment[0][0]} {' and '.join(halves)} of cage {segment[0][1]}: see 'ibdev2netdev' on both"
                )
        for half in halves:
            subnet = next(free, None)
            if subnet is None:
                raise FabricError(
                    f"no /24 of the pool {', '.join(pool)} is left that no host uses: add a free private network to it"
                )
            address = {name: f"{subnet.network_address + octet[name]}" for name, _cage in segment}
            for name, number in segment:
                link = cages[name][number][half]
                links[name].extend(
                    {
                        "netdev": link["netdev"],
                        "rdma_device": link["rdma_device"],
                        "port": link["port"],
                        "physical_port": number,
                        "half": half,
                        "address": f"{address[name]}/24",
                        "peer": peer,
                        "peer_address": address[peer],
                        "peer_physical_port": peer_number,
                    }
                    for peer, peer_number in segment
                    if peer != name
                )
    return links
