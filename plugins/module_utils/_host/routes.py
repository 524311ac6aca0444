# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The IPv4 networks, routes and addresses of a host, from what ``ip -j`` prints and ``/proc/net/route`` holds.

This module util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any, Tuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import reads

# Route: network and interface
Route = Tuple[ipaddress.IPv4Network, str]
# A VPN splits the default route into two halves of /1. Those are not networks in use.
_SHORTEST_PREFIX = 8


class RoutesError(ValueError):
    """The routes or addresses of the host cannot be read."""


_reads_ip = reads(
    RoutesError,
    "the output of 'ip -j'",
    "run 'ip -j -4 addr' and 'ip -j -4 route show table all' on the host, and install its own iproute2",
)


def _entries(text: str, what: str) -> list[dict[str, Any]]:
    try:
        entries = json.loads(text.strip() or "[]")
    except ValueError as exc:
        raise RoutesError(f"the output of 'ip -j {what}' is not JSON ({exc}): {text[:200]!r}") from exc
    # Some versions of iproute2 print empty objects for what they leave out.
    return [entry for entry in entries if entry]


@_reads_ip
def own_addresses(addr: str) -> list[str]:
    """Return the host's addresses, loopback left out, in the order in which ``ip -j -4 addr`` prints them."""
    return [
        info["local"]
        for entry in _entries(addr, "-4 addr")
        for info in entry.get("addr_info", [])
        if info.get("family") == "inet" and info.get("scope") != "host"
    ]


@_reads_ip
def permanent_macs(link: str) -> dict[str, str]:
    """Return, by device, the address that its card came with where it has another now, from ``ip -j link``."""
    return {entry["ifname"]: entry["permaddr"] for entry in _entries(link, "link") if entry.get("permaddr")}


@_reads_ip
def netdev_of(addr: str, address: str) -> tuple[str | None, bool]:
    """Return the device that has an address, None where none has, and whether the address may be taken from it again.

    An address by DHCP has a lease, and the kernel calls an address with a lifetime dynamic.
    """
    for entry in _entries(addr, "-4 addr"):
        for info in entry.get("addr_info", []):
            if info.get("local") == address:
                return entry["ifname"], bool(info.get("dynamic"))
    return None, False


@_reads_ip
def used_networks(addr: str, route: str) -> list[dict[str, str | None]]:
    """Return each network that an address or a route of any table names, with its device, sorted."""
    found: set[tuple[ipaddress.IPv4Network, str]] = set()
    for entry in _entries(addr, "-4 addr"):
        for info in entry.get("addr_info", []):
            if info.get("family") == "inet":
                network = ipaddress.IPv4Network(f"{info['local']}/{info['prefixlen']}", strict=False)
                found.add((network, entry["ifname"]))
    for entry in _entries(route, "-4 route show table all"):
        if entry.get("type", "unicast") in ("local", "broadcast", "multicast") or entry["dst"] == "default":
            continue
        network = ipaddress.IPv4Network(entry["dst"], strict=False)
        if network.prefixlen >= _SHORTEST_PREFIX:
            found.add((network, entry.get("dev", "")))
    return [
        {"network": str(network), "netdev": netdev or None}
        for network, netdev in sorted(found)
        if not network.is_loopback
    ]


@_reads_ip
def management_address(addr: str, route: str) -> str | None:
    """Return the host's own address on the device of its best default route, null where there is none."""
    defaults = [
        entry
        for entry in _entries(route, "-4 route show table all")
        if entry.get("dst") == "default" and entry.get("dev") and entry.get("table", "main") == "main"
    ]
    if not defaults:
        return None
    best = min(defaults, key=lambda entry: entry.get("metric", 0))
    if best.get("prefsrc"):
        return best["prefsrc"]
    return next(
        (
            info["local"]
            for entry in _entries(addr, "-4 addr")
            if entry["ifname"] == best["dev"]
            for info in entry.get("addr_info", [])
            if info.get("family") == "inet"
        ),
        None,
    )


def read_routes(path: str) -> list[Route]:
    """Return the routes of this host, as :func:`parse_routes` does.

    :param path: ``/proc/net/route``.
    :raises RoutesError: where it cannot be read.
    """
    try:
        return parse_routes(Path(path).read_text(encoding="ascii", errors="replace"))
    except OSError as error:
        raise RoutesError(f"{path} cannot be read ({error.strerror}): see that /proc is mounted") from None


def parse_routes(text: str) -> list[Route]:
    """Return each route of ``/proc/net/route`` (proc(5), addresses are little-endian hex) but the default route.

    :raises RoutesError: for a line that cannot be read.
    """
    routes = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        try:
            address, mask = (ipaddress.IPv4Address(bytes.fromhex(fields[place])[::-1]) for place in (1, 7))
            network = ipaddress.IPv4Network(f"{address}/{mask}", strict=False)
        except (IndexError, ValueError) as error:
            raise RoutesError(f"/proc/net/route has a line that cannot be read: {line!r} ({error})") from None
        if network.prefixlen:
            routes.append((network, fields[0]))
    return routes
