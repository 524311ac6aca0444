# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plan the fabric of a group of DGX Sparks: which half gets which address.

Pure functions on the controller over what was discovered on every member. The same input always gives the same plan.

This plugin util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
import shlex
from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Sequence

try:
    from netaddr import IPNetwork, IPSet
except ImportError:
    NETADDR_MISSING = True
else:
    NETADDR_MISSING = False

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.netplan import HEADER, NETPLAN
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._fabric.cabling import (
    Cables,
    Cage,
    FabricError,
    Link,
    Member,
    Segment,
    find_cabling,
)

TOPOLOGIES = ("auto", "direct", "ring", "switch")
ADDRESSINGS = ("static", "link_local", "dhcp")
POOL = ("192.168.100.0/22", "10.100.100.0/22", "172.30.100.0/22")
FIRST_HOST = 10  # the leader's last octet; each member's follows from its rank alone
JUMBO = 9000  # between Sparks; what a switch carries is not ours to say
SYNC = "99-nvidia-sync-cluster.yaml"  # NVIDIA Sync's Cluster Assistant writes it

Overrides = Mapping[str, Mapping[str, str]]  # member -> netdev -> address with prefix length


class End(NamedTuple):
    """One half of one cage, at one end of a segment."""

    name: str
    cage: int
    link: Link
    address: ipaddress.IPv4Interface | None


class Control(NamedTuple):
    """Where all other members reach a host; netdev and network are None where the host's networks do not show them."""

    address: str
    netdev: str | None
    network: str | None


def plan_fabric(
    names: Sequence[str],
    members: Sequence[Mapping[str, Any]],
    topology: str = "auto",
    cables: Cables = (),
    pool: Sequence[str] = POOL,
    mtu: int = 0,
    addressing: str = "static",
    addresses: Overrides | None = None,
) -> dict[str, Any]:
    """Return the plan for all members, in rank order.

    :param names: of all members in rank order. :param members: what ``fabric_member_info`` returned of each, in any
        order. The other parameters are those of the module ``fabric_plan``, which documents what is returned too.
    :raises FabricError: where no fabric can be planned.
    """
    if NETADDR_MISSING:
        raise FabricError("the Python package netaddr is missing on the controller: pip install netaddr")
    pool_networks = _pool_networks(pool)
    hosts = _members(names, members)
    if len(hosts) == 1:
        return {
            "topology": "single",
            "addressing": addressing,
            "mtu": None,
            "admin_down": {},
            "hosts": {hosts[0].name: _host(hosts[0], _management_control(hosts[0]), [], {})},
        }
    wanted = _overrides(addresses or {}, hosts)
    _refuse_enslaved_ports(hosts)
    cabling = find_cabling(hosts, topology, cables)
    _refuse_netplan_conflicts(hosts, cabling.segments)
    adopted = _adopted(hosts)
    own_mtu, carried = _mtu(cabling.topology, mtu, hosts, cabling.segments)
    if addressing == "static":
        free = _free_subnets(pool_networks, hosts, {**adopted, **wanted})
        rows = _static(hosts, cabling.segments, free, pool, {**adopted, **wanted})
    else:
        if wanted or adopted:
            raise FabricError(f"addresses are given, and addressing is {addressing}: make it static, or take them out")
        rows = _current(hosts, cabling.segments, addressing)
    links = _links(hosts, rows)
    # On a ring no one subnet reaches all members, so the control addresses are those of the management network.
    one_subnet = cabling.topology != "ring"
    return {
        "topology": cabling.topology,
        "addressing": addressing,
        "mtu": carried,
        "admin_down": cabling.admin_down,
        "hosts": {
            host.name: _host(
                host,
                _fabric_control(links[host.name][0]) if one_subnet and links[host.name] else _management_control(host),
                links[host.name],
                _netdevs(host, rows, own_mtu, addressing, adopted),
            )
            for host in hosts
        },
    }


def find_drift(plan: Mapping[str, Any], members: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return, by host, the netdevs whose state differs from the plan in address, MTU or ARP settings."""
    drift = {}
    known = {member["name"]: member for member in members}
    for name, host in plan["hosts"].items():
        now = {link["netdev"]: link for link in known[name]["links"]}
        arp = known[name].get("arp", {})
        drift[name] = [
            netdev
            for netdev, wanted in host["netdevs"].items()
            if (
                wanted["cabled"]
                and (
                    not now[netdev]["admin_up"]
                    or wanted["mtu"] not in (None, now[netdev]["mtu"])
                    or any(address not in now[netdev]["ipv4"] for address in wanted["addresses"])
                    or (wanted["dynamic"] and not now[netdev]["ipv4"])
                    or arp.get(netdev, [1, 2]) != [1, 2]
                )
            )
            or (wanted.get("quiet") and any(address.startswith("169.254.") for address in now[netdev]["ipv4"]))
        ]
    return drift


def describe(plan: Mapping[str, Any]) -> list[str]:
    """Return the plan as the lines of a table."""
    head = ["HOST", "CAGE", "HALF", "NETDEV", "RDMA DEVICE", "ADDRESS", "PEER", "CAGE", "ADDRESS"]
    rows = [
        [
            name,
            link["physical_port"],
            link["half"],
            link["netdev"],
            link["rdma_device"],
            link["address"],
            link["peer"],
            link["peer_physical_port"],
            link["peer_address"],
        ]
        for name, host in plan["hosts"].items()
        for link in host["links"]
    ]
    table = [[str(cell) for cell in row] for row in ([head, *rows] if rows else [])]
    widths = [max(map(len, column)) for column in zip(*table)]
    control = ", ".join(f"{name} {host['control_address']}" for name, host in plan["hosts"].items())
    raised = [f"{name} {' '.join(netdevs)}" for name, netdevs in plan["admin_down"].items()]
    mtu = f", packets of {plan['mtu']} bytes" if plan["mtu"] else ""
    return [
        f"{plan['topology']} fabric of {len(plan['hosts'])}, {plan['addressing']} addresses{mtu}",
        f"control addresses: {control}",
        *(["assumed until these are raised: " + ", ".join(raised)] if raised else []),
        *("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table),
    ]


def _host(
    host: Member, control: Control, links: list[dict[str, Any]], netdevs: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    return {
        "control_address": control.address,
        "control_netdev": control.netdev,
        "control_network": control.network,
        "control_on_fabric": control.netdev in {link["netdev"] for link in links},
        "fabric_name": fabric_name(host.name),
        "links": links,
        "rdma_devices": list(dict.fromkeys(link["rdma_device"] for link in links)),
        "netdevs": netdevs,
    }


def _fabric_control(link: Mapping[str, str]) -> Control:
    """Return the control address on a link of the fabric."""
    return Control(link["address"].split("/")[0], link["netdev"], link["network"])


def _management_control(host: Member) -> Control:
    """Return the control address on the management network, with the narrowest network of the host around it."""
    address = ipaddress.ip_address(host.management)
    around = [(network, netdev) for network, netdev in host.networks if address in network and network.prefixlen < 32]
    network, netdev = max(around, key=lambda used: used[0].prefixlen, default=(None, None))
    return Control(host.management, netdev, str(network) if network else None)


def fabric_name(name: str) -> str:
    """Return the name of a member's control address in /etc/hosts, which is never the host's own name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + "-fabric"


# ---- what was discovered


def _members(names: Sequence[str], members: Sequence[Mapping[str, Any]]) -> list[Member]:
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
    _refuse_duplicate_hosts(members, hosts)
    return hosts


def _member(member: Mapping[str, Any]) -> Member:
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
    on_fabric = [link["netdev"] for link in member["links"] if host in [one.split("/")[0] for one in link["ipv4"]]]
    if on_fabric:
        raise FabricError(
            f"{member['name']} is reached over the fabric itself ({host} is on {on_fabric[0]}), and configuring that "
            "would cut the connection: set ansible_host to its address on the management network"
        )
    # What the inventory says may be a name, or the outside of a NAT: then the address of the default route.
    management = host if host in addresses else member.get("management_address") or ""
    neighbors = member.get("neighbors")
    return Member(
        name=member["name"],
        management=management or "127.0.0.1",
        cages=dict(sorted(cages.items())),
        # The fabric's own networks are ours to plan again.
        networks=[
            (ipaddress.IPv4Network(used["network"], strict=False), used["netdev"] or "a route")
            for used in member["networks"]
            if used["netdev"] not in own
        ],
        neighbors=None
        if neighbors is None
        else {
            cage: [(one["id"], one["cage"]) for one in neighbors if one["physical_port"] == cage]
            for cage in {one["physical_port"] for one in neighbors}
        },
        netplan_conflicts=list(member.get("netplan_conflicts") or []),
        own_mtus=_own_mtus(member.get("files") or {}),
        renderers=member.get("netplan_renderers") or {},
        netplan_problem=member.get("netplan_problem") or "",
        hotplug=member.get("hotplug") or {},
    )


def _own_mtus(files: Mapping[str, Any]) -> frozenset[int]:
    """Return the MTUs in the netplan file that this role wrote."""
    texts = [state["content"] for path, state in files.items() if path.startswith(f"{NETPLAN}/") and state]
    return frozenset(
        int(mtu)
        for text in texts
        if text.startswith(HEADER)
        for mtu in re.findall(r"^ +mtu: (\d+)$", text, re.MULTILINE)
    )


def _refuse_duplicate_hosts(members: Sequence[Mapping[str, Any]], hosts: list[Member]) -> None:
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


def _overrides(addresses: Overrides, hosts: list[Member]) -> dict[tuple[str, str], ipaddress.IPv4Interface]:
    known = {host.name: {link["netdev"] for cage in host.cages.values() for link in cage.values()} for host in hosts}
    found = {}
    for name, netdevs in addresses.items():
        if name not in known:
            raise FabricError(f"addresses are given for {name!r}, which is none of {', '.join(known)}")
        for netdev, text in netdevs.items():
            if netdev not in known[name]:
                raise FabricError(
                    f"an address is given for {netdev} of {name}, which is no ConnectX-7 netdev and may belong to the "
                    f"management network: name one of {', '.join(sorted(known[name]))}"
                )
            try:
                found[name, netdev] = ipaddress.IPv4Interface(text)
            except ValueError as exc:
                raise FabricError(f"{text!r} for {netdev} of {name} is no address ({exc}): write 10.1.2.3/24") from exc
            if "/" not in str(text) or found[name, netdev].network.prefixlen > 30:
                raise FabricError(f"{text!r} for {netdev} of {name} has no usable prefix length: write 10.1.2.3/24")
    return found


# ---- what other tools' netplan files say


def _refuse_enslaved_ports(hosts: Sequence[Member]) -> None:
    """Refuse ports that are in a bond, a bridge or a VRF: no address of their own would be used there."""
    problems = []
    for host in hosts:
        ports: dict[str, list[str]] = {}
        for link in (cage[half] for cage in host.cages.values() for half in sorted(cage)):
            if link.get("master"):
                ports.setdefault(link["master"], []).append(link["netdev"])
        for master, netdevs in ports.items():
            are, them = ("are", "them") if len(netdevs) > 1 else ("is", "it")
            commands = "; ".join(f"sudo ip link set {netdev} nomaster" for netdev in netdevs)
            places = [one["path"] for one in host.netplan_conflicts if f"a part of {master}" in one["sets"]]
            where = (
                " and ".join(map(_file, dict.fromkeys(places)))
                or "what put it there (see /etc/netplan and 'nmcli connection')"
            )
            problems.append(
                f"{host.name}: {' and '.join(netdevs)} {are} in {master}: take {them} out ('{commands}'), and out of "
                f"{where}, which would do it again"
            )
    if problems:
        raise FabricError("; ".join(problems))


def _refuse_netplan_conflicts(hosts: Sequence[Member], segments: Sequence[Segment]) -> None:
    """Refuse other files that configure the fabric's netdevs, and a part of a fabric in NVIDIA Sync's file."""
    problems = [f"{host.name}: {host.netplan_problem}" for host in hosts if host.netplan_problem]
    for host in hosts:
        alike: dict[tuple[str, str, str, str, bool], list[str]] = {}
        for one in host.netplan_conflicts:
            if not one["path"].endswith(f"/{SYNC}"):
                about = (one.get("every_port") or "", one.get("renderer") or "", bool(one.get("shared")))
                alike.setdefault((one["path"], ", ".join(one["sets"]), *about), []).append(one["netdev"])
        problems += [_conflict_words(host.name, *key, netdevs) for key, netdevs in alike.items()]
    if problems:
        raise FabricError("; ".join(problems))
    planned = {(name, cage) for segment in segments for name, cage in segment}
    given = {(host.name, one["netdev"]) for host in hosts for one in host.netplan_conflicts if one["addresses"]}
    ends = {
        (host.name, link["netdev"])
        for host in hosts
        for n, cage in host.cages.items()
        if (host.name, n) in planned
        for link in cage.values()
    }
    if given and ends - given:
        without = ", ".join(f"{name} {netdev}" for name, netdev in sorted(ends - given))
        raise FabricError(
            f"NVIDIA Sync's {SYNC} addresses a part of the fabric, and not {without}: set the cluster up in NVIDIA "
            f"Sync again, with all of these Sparks, or move {SYNC} out of /etc/netplan on each"
        )


def _file(path: str) -> str:
    """Return what to call the place of a conflict, which for a file that could not be read is the directory alone."""
    return f"a file in {path}" if path == NETPLAN else path


def _conflict_words(
    host: str, path: str, sets: str, every_port: str, renderer: str, shared: bool, netdevs: list[str]
) -> str:
    """Return what a file configures on netdevs of the fabric, and the mend."""
    which = ", ".join(netdevs)
    said = f"{host}: {_file(path)} configures {which} too ({sets})"
    profile = path.endswith(".nmconnection")
    if every_port:
        kind = "entry" if renderer == "networkd" else "profile"
        named = f"its {kind} {every_port!r} names no port, so that it is one for every port"
        modify = f"nmcli connection modify {shlex.quote(every_port)} connection.interface-name PORT"
        match = "'match: {name: PORT}' in the file"
        mend = match if renderer == "networkd" else modify if profile else f"{modify}, or {match}"
        away = f"delete it (nmcli connection delete {shlex.quote(every_port)})" if profile else "move it away"
        return f"{said}, because {named}: give it its own ({mend}), or {away} if it is not needed"
    if profile:
        return f"{said}: delete that profile of NetworkManager (nmcli connection delete), or give it another port"
    if path == NETPLAN:
        return f"{said}: take {which} out of it ('grep -r {netdevs[0]} {NETPLAN}' and 'netplan get' help to find it)"
    if shared:
        return f"{said}: take {which} out of it, and leave it where it is, because it may configure other ports too"
    return f"{said}: move it out of {path.rpartition('/')[0]} if it is not needed, or take {which} out of it"


def _adopted(hosts: Sequence[Member]) -> dict[tuple[str, str], ipaddress.IPv4Interface]:
    """Return the addresses that NVIDIA Sync gave, to be kept."""
    found: dict[tuple[str, str], ipaddress.IPv4Interface] = {}
    for host in hosts:
        for conflict in host.netplan_conflicts:
            every = [ipaddress.ip_interface(address) for address in conflict["addresses"]]
            given = [address for address in every if isinstance(address, ipaddress.IPv4Interface)]
            if len(every) > 1 or given != every:
                raise FabricError(
                    f"{host.name}: {conflict['path']} gives {conflict['netdev']} the addresses "
                    f"{', '.join(conflict['addresses'])}, and one of IPv4 is needed: move the file out of /etc/netplan"
                )
            if given:
                found[host.name, conflict["netdev"]] = given[0]
    return found


def _mtu(topology: str, mtu: int, hosts: Sequence[Member], segments: Sequence[Segment]) -> tuple[int | None, int]:
    """Return the MTU to set, None to leave it alone, and the one that packets shall have."""
    by_others = {one["mtu"] for host in hosts for one in host.netplan_conflicts if one["mtu"]}
    if len(by_others) > 1:
        raise FabricError(f"{SYNC} sets different MTUs ({', '.join(map(str, sorted(by_others)))}): set them alike")
    if by_others:
        return None, by_others.pop()
    if mtu or topology != "switch":
        return mtu or JUMBO, mtu or JUMBO
    by_name = {host.name: host for host in hosts}
    now = {
        f"{name} {link['netdev']} {link['mtu']}": link["mtu"]
        for segment in segments
        for name, cage in segment
        for link in by_name[name].cages[cage].values()
    }
    if len(set(now.values())) > 1:
        raise FabricError(
            f"the MTUs on the switch differ ({', '.join(now)}), and on a switch they are left alone: set them alike, "
            "or set cx7_network_mtu to what the switch carries"
        )
    carried = next(iter(now.values()))
    # No renderer sets an MTU back that is not in its file any more, until a boot: what this role set stays.
    return carried if any(carried in host.own_mtus for host in hosts) else None, carried


# ---- which half gets which address


def _pool_networks(pool: Sequence[str]) -> list[ipaddress.IPv4Network]:
    """Return the networks of the pool, or refuse one that cannot be used."""
    networks: list[ipaddress.IPv4Network] = []
    for entry in pool:
        try:
            network = ipaddress.IPv4Network(entry)
        except ValueError as exc:
            raise FabricError(f"{entry!r} in the pool is no IPv4 network ({exc}): write 192.168.100.0/22") from exc
        if not 12 <= network.prefixlen <= 24 or not network.is_private:
            raise FabricError(f"{entry!r} in the pool is not a private network of /12 to /24")
        if any(network.overlaps(other) for other in networks):
            raise FabricError(f"{entry!r} in the pool overlaps another entry of it")
        networks.append(network)
    return networks


def _free_subnets(
    pool: Sequence[ipaddress.IPv4Network],
    hosts: Sequence[Member],
    given: Mapping[tuple[str, str], ipaddress.IPv4Interface],
) -> Iterator[ipaddress.IPv4Network]:
    """Yield the /24s of the pool that no host uses and no given address is in, in order."""
    used = [network for host in hosts for network, _netdev in host.networks]
    taken = IPSet([str(network) for network in [*used, *(address.network for address in given.values())]])
    for entry in pool:
        for subnet in IPNetwork(str(entry)).subnet(24):
            if taken.isdisjoint(IPSet(subnet)):
                yield ipaddress.IPv4Network(str(subnet))


def _halves(hosts: Sequence[Member], segments: Sequence[Segment]) -> Iterator[list[tuple[str, int, Link]]]:
    """Yield the ends that share a subnet: A with A and B with B, since no probe can tell the halves of a cable."""
    cages = {host.name: host.cages for host in hosts}
    for segment in segments:
        halves = sorted(cages[segment[0][0]][segment[0][1]])
        for name, number in segment:
            if sorted(cages[name][number]) != halves:
                raise FabricError(
                    f"{name} shows halves {' and '.join(sorted(cages[name][number]))} of cage {number}, but "
                    f"{segment[0][0]} {' and '.join(halves)} of cage {segment[0][1]}: see 'ibdev2netdev' on both"
                )
        for half in halves:
            yield [(name, number, cages[name][number][half]) for name, number in segment]


def _static(
    hosts: list[Member],
    segments: Sequence[Segment],
    free: Iterator[ipaddress.IPv4Network],
    pool: Sequence[str],
    given: Mapping[tuple[str, str], ipaddress.IPv4Interface],
) -> list[list[End]]:
    octet = {host.name: FIRST_HOST + rank for rank, host in enumerate(hosts)}
    if FIRST_HOST + len(hosts) > 255:
        raise FabricError(f"{len(hosts)} hosts do not fit into one /24: plan fewer")
    rows: list[list[End]] = []
    for ends in _halves(hosts, segments):
        own = [given[name, link["netdev"]] for name, _cage, link in ends if (name, link["netdev"]) in given]
        network = _common(own, ends, hosts) if own else next(free, None)
        if network is None:
            raise FabricError(
                f"no /24 of the pool {', '.join(pool)} is left that no host uses: add a free private network to it"
            )
        rows.append(
            [
                End(
                    name,
                    cage,
                    link,
                    given.get((name, link["netdev"]))
                    or ipaddress.IPv4Interface(f"{network.network_address + octet[name]}/{network.prefixlen}"),
                )
                for name, cage, link in ends
            ]
        )
        _refuse_clash(rows)
    return rows


def _common(
    own: list[ipaddress.IPv4Interface], ends: list[tuple[str, int, Link]], hosts: list[Member]
) -> ipaddress.IPv4Network:
    """Return the network of the addresses that are given for the ends of a link, or refuse it."""
    where = " and ".join(f"{name} {link['netdev']}" for name, _cage, link in ends)
    networks = {address.network for address in own}
    if len(networks) > 1:
        raise FabricError(
            f"the ends of a link must be in one network, and {where} are given {', '.join(map(str, own))}: give them "
            "addresses of the same network"
        )
    network = networks.pop()
    for host in hosts:
        for used, netdev in host.networks:
            if network.overlaps(used):
                raise FabricError(
                    f"{network}, given to {where}, is in use already on {netdev} of {host.name} ({used}): choose a "
                    "network that no host uses"
                )
    return network


def _refuse_clash(rows: list[list[End]]) -> None:
    last = rows[-1]
    if len({end.address for end in last}) < len(last):
        where = ", ".join(f"{end.name} {end.link['netdev']} {end.address}" for end in last)
        raise FabricError(f"two ends of a link would have the same address ({where}): give each its own")
    for row in rows[:-1]:
        one, other = row[0].address, last[0].address
        if one and other and one.network.overlaps(other.network):
            raise FabricError(
                f"{row[0].link['netdev']} and {last[0].link['netdev']} of {row[0].name} would share the network "
                f"{other.network}: give every half a network of its own"
            )


def _current(hosts: list[Member], segments: Sequence[Segment], addressing: str) -> list[list[End]]:
    """Return the ends with the addresses that they have now, as far as there are any."""
    return [
        [
            End(name, cage, link, next((ipaddress.IPv4Interface(one) for one in link["ipv4"]), None))
            for name, cage, link in ends
        ]
        for ends in _halves(hosts, segments)
        # Two halves would share 169.254.0.0/16, so half B stays without.
        if addressing == "dhcp" or ends[0][2]["half"] in (None, "A")
    ]


def _links(hosts: list[Member], rows: list[list[End]]) -> dict[str, list[dict[str, Any]]]:
    links: dict[str, list[dict[str, Any]]] = {host.name: [] for host in hosts}
    for row in rows:
        for here, there in itertools.permutations(row, 2):
            if here.address is None or there.address is None:
                continue  # not yet: see ``find_drift``
            links[here.name].append(
                {
                    "netdev": here.link["netdev"],
                    "rdma_device": here.link["rdma_device"],
                    "port": here.link["port"],
                    "physical_port": here.cage,
                    "half": here.link["half"] or "A",
                    "address": str(here.address),
                    "network": str(here.address.network),
                    "peer": there.name,
                    "peer_address": str(there.address.ip),
                    "peer_physical_port": there.cage,
                    "peer_netdev": there.link["netdev"],
                    "peer_mac": there.link["mac"],
                }
            )
    return links


def _netdevs(
    host: Member,
    rows: list[list[End]],
    mtu: int | None,
    addressing: str,
    adopted: Mapping[tuple[str, str], ipaddress.IPv4Interface],
) -> dict[str, dict[str, Any]]:
    """Return the wanted state of each netdev. All are named, so that no renderer asks for DHCP on the others."""
    ends = {end.link["netdev"]: end for row in rows for end in row if end.name == host.name}
    return {
        link["netdev"]: {
            "cabled": link["netdev"] in ends,
            "addresses": [str(ends[link["netdev"]].address)]
            if addressing == "static" and link["netdev"] in ends
            else [],
            "dynamic": addressing if addressing != "static" and link["netdev"] in ends else "",
            "adopted": (host.name, link["netdev"]) in adopted,
            "mtu": mtu if link["netdev"] in ends else None,
            **_quiet(host, link["netdev"], addressing, link["netdev"] in ends),
        }
        for cage in host.cages.values()
        for link in cage.values()
    }


def _quiet(host: Member, netdev: str, addressing: str, planned: bool) -> dict[str, bool]:
    """Return ``quiet`` for a netdev that NetworkManager would give an address of 169.254.0.0/16 unasked.

    netplan hands it the same profile for ``link-local: []`` as for ``[ipv4]`` where there is no other address. Half B
    would then share the network of half A.
    """
    silent = addressing == "link_local" and not planned and host.renderers.get(netdev) == "NetworkManager"
    return {"quiet": True} if silent else {}
