# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Render the fabric's netplan file, and find what other netplan files configure on the same netdevs.

This module util is private to the collection.
"""

from __future__ import annotations

import fnmatch
import re
from typing import Any, Iterable, Mapping

HEADER = "# Ansible managed (sparkops.dgx_spark.cx7_network): changes made here will be lost.\n"
PLACES = ("/lib/netplan", "/etc/netplan", "/run/netplan")  # a file hides one of the same name in a place before it
# The program behind 'netplan generate', which itself would have systemd read all its units again.
GENERATORS = ("/usr/libexec/netplan/generate", "/usr/lib/netplan/generate", "/lib/netplan/generate")
_NETDEV = re.compile(r"[A-Za-z0-9_.-]{1,15}", re.ASCII)
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}/\d{1,2}", re.ASCII)


class NetplanError(ValueError):
    """The netplan file cannot be rendered from this."""


def render(netdevs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the file's text. Netdevs without a cable get no address and no DHCP.

    The file names no renderer, so that the host keeps its own.

    :param netdevs: the wanted state of each netdev, ``hosts.*.netdevs`` of the plan.
    :raises NetplanError: for a name or an address that netplan would not take.
    """
    if not netdevs:
        raise NetplanError("there are no netdevs to configure: give the netdevs of the ConnectX-7")
    lines = ["network:", "  version: 2", "  ethernets:"]
    for name, wanted in sorted(netdevs.items()):
        if not _NETDEV.fullmatch(name):
            raise NetplanError(f"netdev {name!r} is no name of a network device")
        dynamic = wanted.get("dynamic") or ""
        # Without these lines NetworkManager asks for DHCP on each port with a cable, and boot waits for those without.
        lines += [
            f"    {name}:",
            f"      dhcp4: {'true' if dynamic == 'dhcp' else 'false'}",
            "      dhcp6: false",
            f"      link-local: {'[ipv4]' if dynamic == 'link_local' else '[]'}",
            "      optional: true",
        ]
        if wanted.get("mtu") is not None:
            lines.append(f"      mtu: {wanted['mtu']}")
        # An address that another tool's file gives stays in that file.
        addresses = [] if wanted.get("adopted") else wanted.get("addresses") or []
        if addresses:
            lines.append("      addresses:")
        for address in addresses:
            if not _ADDRESS.fullmatch(address):
                raise NetplanError(f"address {address!r} of {name} is not like 192.168.100.10/24")
            lines.append(f"        - {address}")
    return HEADER + "\n".join(lines) + "\n"


def find_conflicts(documents: Mapping[str, Any], own: str, links: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what files other than ``own`` configure on the links' netdevs.

    :param documents: the parsed YAML of each file by its path. A file that is not valid is left for netplan to refuse.
    :returns: ``path``, ``netdev``, ``sets`` (in words), ``addresses`` and ``mtu`` of each conflict.
    """
    conflicts = []
    for path, document in sorted(documents.items()):
        network = document.get("network") if isinstance(document, dict) else None
        if path == own or not isinstance(network, dict):
            continue
        for link in links:
            found = [_settings(key, entry, link) for key, entry in _entries(network, "ethernets")]
            sets = [what for one in found for what in one["sets"]]
            sets += [
                f"a part of {kind} {key}"
                for kind in ("bonds", "bridges", "vrfs")
                for key, entry in _entries(network, kind)
                if link["netdev"] in (entry.get("interfaces") or [])
            ]
            mtus = [one["mtu"] for one in found if one["mtu"] and path.rsplit("/", 1)[1] > own.rsplit("/", 1)[1]]
            if sets or mtus:
                conflicts.append(
                    {
                        "path": path,
                        "netdev": link["netdev"],
                        "sets": sets + [f"MTU {mtu}" for mtu in mtus],
                        "addresses": [address for one in found for address in one["addresses"]],
                        "mtu": mtus[-1] if mtus else None,
                    }
                )
    return conflicts


def _entries(network: Mapping[str, Any], kind: str) -> list[tuple[str, dict[str, Any]]]:
    entries = network.get(kind)
    return [(key, one) for key, one in entries.items() if isinstance(one, dict)] if isinstance(entries, dict) else []


def _settings(key: str, entry: Mapping[str, Any], link: Mapping[str, Any]) -> dict[str, Any]:
    nothing: dict[str, Any] = {"sets": [], "addresses": [], "mtu": None}
    match = entry.get("match")
    if isinstance(match, dict):
        hit = (not match.get("name") or fnmatch.fnmatchcase(link["netdev"], str(match["name"]))) and (
            not match.get("macaddress") or str(match["macaddress"]).lower() == str(link["mac"]).lower()
        )
    else:
        hit = key == link["netdev"]
    if not hit:
        return nothing
    # An address may be a mapping, with its options as the value.
    addresses = [next(iter(one)) if isinstance(one, dict) else str(one) for one in entry.get("addresses") or []]
    sets = [f"address {address}" for address in addresses]
    sets += [f"{name}: true" for name in ("dhcp4", "dhcp6") if entry.get(name) is True]
    sets += ["routes"] if entry.get("routes") else []
    return {"sets": sets, "addresses": addresses, "mtu": entry.get("mtu")}
