# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong among several Sparks, each of which may be sound. Pure functions of the facts of all.

A judge is given the Sparks whose facts it can read, and judges nothing of fewer than two.

This plugin util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Callable, Hashable, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm import CLOCKS_APART
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.changes import SIZES_APART
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor import hang
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.facts import Facts, NotLookedError, Seen

DOCKERS = re.compile(r"docker|br-|veth|cni|flannel|virbr|lxc|tailscale")

Hosts = Sequence[Facts]


def same_hostname(hosts: Hosts) -> Iterator[Seen]:
    yield from _equal(hosts, lambda one: one.get("host.hostname"), "have the host name")


def same_machine_id(hosts: Hosts) -> Iterator[Seen]:
    yield from _equal(hosts, lambda one: one.get("host.machine_id"), "have the machine ID")


def same_ssh_keys(hosts: Hosts) -> Iterator[Seen]:
    by_key: dict[str, list[str]] = {}
    for host in hosts:
        for fingerprint in set(host.get("ssh_keys").values()):
            by_key.setdefault(fingerprint, []).append(host.name)
    shared = {tuple(names): key for key, names in by_key.items() if len(names) > 1}
    for names, fingerprint in shared.items():
        yield Seen(f"{' and '.join(names)} have the key {fingerprint}", names)


def same_address(hosts: Hosts) -> Iterator[Seen]:
    by_address: dict[str, list[str]] = {}
    for host in hosts:
        for address in {one["address"] for one in host.get("addresses") if _is_outside(one)}:
            by_address.setdefault(address, []).append(host.name)
    for address, names in sorted(by_address.items()):
        if len(names) > 1:
            yield Seen(f"{' and '.join(names)} have {address}", tuple(names))


def _is_outside(one: Mapping[str, Any]) -> bool:
    """Whether others can meet an address: not one of a network within the host, or of its own hotspot."""
    hotspot = re.fullmatch(r"10\.42\.\d+\.1", one["address"])  # what NetworkManager shares
    return bool(one["carrier"] and not one["inner"] and not hotspot and not DOCKERS.match(one["netdev"]))


def clocks_apart(hosts: Hosts) -> Iterator[Seen]:
    """They were read one after another at worst, which takes seconds."""
    times = {host.name: host.at for host in hosts if host.at}
    if len(times) > 1:
        early, late = min(times, key=times.__getitem__), max(times, key=times.__getitem__)
        apart = times[late] - times[early]
        if apart > CLOCKS_APART:
            yield Seen(f"{late} is {apart:.0f} s ahead of {early}", (early, late))


def memory_differs(hosts: Hosts) -> Iterator[Seen]:
    sizes = {host.name: host.get("memory.total_mib") for host in hosts}
    if min(sizes.values()) < max(sizes.values()) * (1 - SIZES_APART):
        yield Seen(", ".join(f"{name} has {mib} MiB" for name, mib in sizes.items()), tuple(sizes))


def drivers_differ(hosts: Hosts) -> Iterator[Seen]:
    yield from _different(hosts, lambda one: (one.get("gpu.gpus") or [{}])[0].get("driver_version"))


def kernels_differ(hosts: Hosts) -> Iterator[Seen]:
    yield from _different(hosts, lambda one: one.get("host.kernel"))


def firmware_differs(hosts: Hosts) -> Iterator[Seen]:
    yield from _different(
        hosts, lambda one: ", ".join(sorted({link["firmware"] for link in one.links() if link["firmware"]}))
    )


def releases_differ(hosts: Hosts) -> Iterator[Seen]:
    def release(one: Facts) -> str:
        told = one.get("host.release")
        return str(told.get("DGX_OTA_VERSION") or told.get("DGX_SWBUILD_VERSION") or "")

    yield from _different(hosts, release)


def docker_differs(hosts: Hosts) -> Iterator[Seen]:
    yield from _different(hosts, lambda one: f"{one.get('docker.version')} ({one.get('docker.store')})")


def users_differ(hosts: Hosts) -> Iterator[Seen]:
    yield from _different(hosts, lambda one: one.get("host.user"))


def mtus_differ(hosts: Hosts) -> Iterator[Seen]:
    by_network: dict[Any, dict[tuple[str, str], int]] = {}
    for host in hosts:
        for link, address in host.addressed():
            if link["mtu"]:
                by_network.setdefault(address.network, {})[host.name, str(link["netdev"])] = link["mtu"]
    for network, mtus in by_network.items():
        if len(set(mtus.values())) > 1:
            told = ", ".join(f"{netdev} of {name} has {mtu}" for (name, netdev), mtu in mtus.items())
            yield Seen(f"in {network} {told}", tuple(dict.fromkeys(name for name, _netdev in mtus)))


def links_unmatched(hosts: Hosts) -> Iterator[Seen]:
    networks = {host.name: host.networks() for host in hosts}
    if sum(map(bool, networks.values())) < 2:
        return  # there is no fabric yet
    for name, own in networks.items():
        others = {network for other, some in networks.items() if other != name for network in some}
        for network, netdev in own.items():
            if network not in others and not network.is_link_local:
                yield Seen(f"{netdev} of {name} is in {network}, and no other Spark has an address there", (name,))


def cages_crossed(hosts: Hosts) -> Iterator[Seen]:
    """Of two Sparks: in a ring each has a cable in both cages."""
    cages = {host.name: {link["physical_port"] for link in host.links() if link["carrier"]} - {None} for host in hosts}
    if len(cages) == 2 and all(len(some) == 1 for some in cages.values()) and len(set().union(*cages.values())) == 2:
        told = ", ".join(f"{name} has its cable in cage {min(some)}" for name, some in cages.items())
        yield Seen(told, tuple(cages))


def images_differ(hosts: Hosts) -> Iterator[Seen]:
    """By the servings that several hosts have: the images of all running containers of that name."""
    for name in sorted({serving["name"] for host in hosts for serving in host.servings()}):
        images: dict[str, set[str]] = {}
        for host in hosts:
            for one in host.containers("ours", running=True):
                if one["name"] == name or one["name"].startswith(f"{name}_"):
                    images.setdefault(host.name, set()).add(one["image_id"][7:19])
        if len(set(map(frozenset, images.values()))) > 1:
            told = ", ".join(f"{host} {' and '.join(sorted(some))}" for host, some in images.items())
            yield Seen(f"{name}: {told}", tuple(images))


def nccl_differs(hosts: Hosts) -> Iterator[Seen]:
    builds = {host.name: {one["sha256"]: one["version"] for one in host.get("nccl")} for host in hosts}
    known = {name: some for name, some in builds.items() if some}
    if len({frozenset(some) for some in known.values()}) > 1:
        told = (f"{name} {', '.join(f'{v} ({sha[:12]})' for sha, v in some.items())}" for name, some in known.items())
        yield Seen("; ".join(told), tuple(known))


def swarms_differ(hosts: Hosts) -> Iterator[Seen]:
    managers = {
        host.name: {one.rpartition(":")[0] for one in host.get("docker.swarm.managers")}
        for host in hosts
        if host.get("docker.swarm.state") == "active"
    }
    known = {name: some for name, some in managers.items() if some}
    if len(known) > 1 and not set.intersection(*known.values()):
        yield Seen("; ".join(f"{name} follows {', '.join(sorted(some))}" for name, some in known.items()), tuple(known))


def firewall_blocks(hosts: Hosts) -> Iterator[Seen]:
    for host in hosts:
        if not host.get("firewall.enabled"):
            continue
        rules = host.get("firewall.rules")
        if rules is None:
            raise NotLookedError(f"the rules of ufw on {host.name} are told to root alone: run this with become")
        allowed = [str(one["rule"]) for one in rules if str(one["rule"]).startswith("allow")]
        for other in hosts:
            for link, address in other.addressed() if other is not host else ():
                netdev = host.networks().get(address.network)
                if netdev and not any(lets_in(rule, netdev, str(address.ip)) for rule in allowed):
                    sender = f"{address.ip} ({link['netdev']} of {other.name})"
                    yield Seen(f"ufw of {host.name} lets nothing in from {sender} on {netdev}", (host.name,))


def lets_in(rule: str, netdev: str, address: str) -> bool:
    """Whether a rule of ``ufw show added`` lets an address in on a device, on any port.

    >>> lets_in("allow in on eth1 from 10.0.0.2", "eth1", "10.0.0.2"), lets_in("allow 22/tcp", "eth1", "10.0.0.2")
    (True, False)
    """
    words = rule.split()
    device = re.search(r"\bon (\S+)", rule)
    source = re.search(r"\bfrom (\S+)", rule)
    if "out" in words or re.search(r"\bport\b", rule) or (not device and not source):
        return False
    if device and device[1] != netdev:
        return False
    if not source or source[1] == "any":
        return True
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(source[1], strict=False)
    except ValueError:
        return False


def engine_hangs(hosts: Hosts) -> Iterator[Seen]:
    sides, blind = hang.looked(hosts)
    found = hang.triage(sides)
    if found.stands_still:
        yield Seen(found.words, tuple(found.look_at) or tuple(one.name for one in sides))
    if blind:  # what is seen of the others is told all the same
        raise blind[0]


def _equal(hosts: Hosts, value: Callable[[Facts], Hashable], words: str) -> Iterator[Seen]:
    by_value: dict[Any, list[str]] = {}
    for host in hosts:
        if found := value(host):
            by_value.setdefault(found, []).append(host.name)
    for found, names in by_value.items():
        if len(names) > 1:
            yield Seen(f"{' and '.join(names)} {words} {found}", tuple(names))


def _different(hosts: Hosts, value: Callable[[Facts], Any]) -> Iterator[Seen]:
    values = {host.name: str(found) for host in hosts if (found := value(host))}
    if len(set(values.values())) > 1:
        yield Seen(", ".join(f"{name} has {found}" for name, found in values.items()), tuple(values))
