# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a Spark's fabric and network. Pure functions of facts.

This plugin util is private to the collection.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Iterator, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.bandwidth import bandwidth_problem
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.hotplug import is_on
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.facts import Facts, NotLookedError, Seen

MTU = 9000
MBPS = 200000
BAD_GBPS = 26.0  #: of all links of a pair, below which a card is in its bad state
ERRORS = 1000  #: since the driver was loaded
FLAPS = 20
API_PORT, SSH_PORT = 8355, 2233


def fabric_no_card(facts: Facts) -> Iterator[Seen]:
    if facts.several and not facts.links():
        state = facts.get("card")
        words = "the kernel has no RoCE device"
        if is_on(state):
            seen = {True: "sees a cable", False: "sees no live cable"}.get(
                state.get("cable"), "says nothing of a cable"
            )
            words += f"; the hot-plug driver is on, and {seen}"
        yield Seen(words)


def fabric_no_carrier(facts: Facts) -> Iterator[Seen]:
    links = facts.links()
    if facts.several and links and not any(link["carrier"] for link in links):
        yield Seen(f"{', '.join(_name(link) for link in links)}: no carrier")


def fabric_half_down(facts: Facts) -> Iterator[Seen]:
    for cage, links in _cages(facts).items():
        down = [_name(link) for link in links if link["admin_up"] is False]
        if down and any(link["carrier"] for link in links):
            yield Seen(f"{', '.join(down)} of cage {cage} is admin down, and its other half has carrier")


def fabric_half_unaddressed(facts: Facts) -> Iterator[Seen]:
    if not facts.several:
        return
    for cage, links in _cages(facts).items():
        live = [link for link in links if link["carrier"] and not link["master"]]
        bare = [_name(link) for link in live if not link["ipv4"]]
        if bare and len(bare) < len(live):
            yield Seen(f"{', '.join(bare)} of cage {cage} has no address, and its other half has one")


def fabric_halves_one_subnet(facts: Facts) -> Iterator[Seen]:
    by_network: dict[Any, set[str]] = {}
    for link, address in facts.addressed():
        by_network.setdefault(address.network, set()).add(_name(link))
    for network, names in by_network.items():
        if len(names) > 1:
            yield Seen(f"{' and '.join(sorted(names))} are both in {network}")


def fabric_link_local(facts: Facts) -> Iterator[Seen]:
    for link, address in facts.addressed():
        if address.is_link_local:
            yield Seen(f"{_name(link)} has {address}")


def fabric_by_dhcp(facts: Facts) -> Iterator[Seen]:
    netdevs = {link["netdev"] for link in facts.links()}
    for one in facts.get("addresses"):
        if one["netdev"] in netdevs and one["dynamic"]:
            yield Seen(f"{one['netdev']} has {one['address']}/{one['prefix']} for a certain time")


def fabric_bonded(facts: Facts) -> Iterator[Seen]:
    for link in facts.links():
        if link["master"]:
            yield Seen(f"{_name(link)} is part of {link['master']}")


def fabric_mtu_small(facts: Facts) -> Iterator[Seen]:
    small = {_name(link): link["mtu"] for link, _address in facts.addressed() if (link["mtu"] or MTU) < MTU}
    if small:
        yield Seen(", ".join(f"{name} has an MTU of {mtu}" for name, mtu in sorted(small.items())))


def fabric_slow_cable(facts: Facts) -> Iterator[Seen]:
    if not facts.several:
        return
    slow = {_name(link): link["speed_mbps"] for link in facts.links() if link["carrier"] and link["speed_mbps"]}
    told = [f"{name} has {speed // 1000} Gbit/s" for name, speed in sorted(slow.items()) if speed < MBPS]
    if told:
        yield Seen(", ".join(told))


def fabric_slow_card(facts: Facts) -> Iterator[Seen]:
    found = facts.get("measured")
    for one in found.get("measured") or []:
        if one["gbps"] < BAD_GBPS:
            said = bandwidth_problem(facts.name, one, 175, str(found.get("tool") or "ib_write_bw"))
            yield Seen(str(said).partition(": ")[0])


def fabric_hotplug(facts: Facts) -> Iterator[Seen]:
    state = facts.get("card")
    if facts.several and is_on(state):
        until = ", and will be at the next boot" if state["marker"] else " until the next boot"
        yield Seen(f"the hot-plug driver is on{until}")


def fabric_verbs(facts: Facts) -> Iterator[Seen]:
    if facts.several and (words := facts.get("card.verbs")):
        yield Seen(words)


def fabric_errors(facts: Facts) -> Iterator[Seen]:
    for link in facts.links():
        many = {name: count for name, count in link["errors"].items() if count >= ERRORS}
        if many:
            yield Seen(
                f"{link['rdma_device']}: " + ", ".join(f"{name} {count}" for name, count in sorted(many.items()))
            )


def fabric_flaps(facts: Facts) -> Iterator[Seen]:
    for link in facts.links():
        if link["carrier_changes"] >= FLAPS:
            yield Seen(f"{_name(link)} has changed its carrier {link['carrier_changes']} times")


def fabric_rollback_pending(facts: Facts) -> Iterator[Seen]:
    if facts.get("rollback_pending"):
        yield Seen("the timer that restores the network is still to come")


def netplan_readable(facts: Facts) -> Iterator[Seen]:
    for file in facts.get("netplan"):
        if int(file["mode"], 8) & 0o077:
            yield Seen(f"{file['path']} has the mode {file['mode']}", data=({"path": file["path"]},))


def netplan_sync(facts: Facts) -> Iterator[Seen]:
    for file in facts.get("netplan"):
        if "nvidia-sync" in file["path"]:
            yield Seen(f"{file['path']} is there")


def cdi_stale(facts: Facts) -> Iterator[Seen]:
    for spec in facts.get("cdi"):
        if spec["lacking"]:
            many = f" and {len(spec['lacking']) - 1} more" if len(spec["lacking"]) > 1 else ""
            yield Seen(f"{spec['path']} names {spec['lacking'][0]}{many}, which is not there")


def port_taken(facts: Facts) -> Iterator[Seen]:
    """Of what is configured; where nothing is, the plan of a serving looks at the ports that it wants."""
    by_port = {one["port"]: one for one in facts.get("ports")}
    own = [one["name"] for one in facts.servings()]
    wanted = {port for one in facts.servings() for port in _ports(one)}
    for port in sorted(wanted & set(by_port)):
        one = by_port[port]
        if not one["addresses"] or any(_is_own(name, own) for name in one["containers"]):
            continue
        if not one["holders"] and not facts.get("host.root"):
            raise NotLookedError(f"who listens on port {port} is told to root alone: run this with become")
        yield Seen(
            f"{', '.join(one['holders']) or 'a program'} listens on port {port} of {', '.join(one['addresses'])}"
        )


def _ports(serving: Mapping[str, Any]) -> list[int]:
    port = str(serving["api_listen"]).rpartition(":")[2]
    ports = [int(port)] if port.isdigit() and serving["rank"] == 0 else []
    return [*ports, serving["ssh_port"]] if serving["rank"] else ports


def _is_own(container: str, own: list[str]) -> bool:
    return any(container == name or container.startswith(f"{name}_") for name in own)


def sshd_everywhere(facts: Facts) -> Iterator[Seen]:
    for one in facts.get("ports"):
        if one["port"] == SSH_PORT and _everywhere(one):
            yield Seen(f"{', '.join(one['holders']) or 'a program'} listens on port {SSH_PORT} of all addresses")


def api_everywhere(facts: Facts) -> Iterator[Seen]:
    if facts.get("firewall.enabled"):
        return
    ports = {API_PORT, *(port for one in facts.servings() for port in _ports(one) if not one["rank"])}
    for one in facts.get("ports"):
        if one["port"] in ports and _everywhere(one):
            yield Seen(f"port {one['port']} answers on all addresses, and ufw is off")


def _everywhere(port: Mapping[str, Any]) -> bool:
    return any(ipaddress.ip_address(address).is_unspecified for address in port["addresses"])


def _name(link: Mapping[str, Any]) -> str:
    return str(link["netdev"] or link["rdma_device"])


def _cages(facts: Facts) -> dict[int, list[Mapping[str, Any]]]:
    found: dict[int, list[Mapping[str, Any]]] = {}
    for link in facts.links():
        if link["physical_port"] is not None:
            found.setdefault(link["physical_port"], []).append(link)
    return found
