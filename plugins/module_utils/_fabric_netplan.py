# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is private to the collection: it may change at any time.
"""The fabric's netplan file."""

from __future__ import annotations

import re
import typing as t

HEADER = "# Ansible managed (sparkops.dgx_spark.cx7_network): changes made here will be lost.\n"
_NETDEV = re.compile(r"[A-Za-z0-9_.-]{1,15}", re.ASCII)
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}/\d{1,2}", re.ASCII)


class NetplanError(ValueError):
    """This cannot be said in the fabric's netplan file."""


def render(
    netdevs: t.Iterable[str], links: t.Iterable[t.Mapping[str, t.Any]], mtu: int, other_mtu: int | None = None
) -> str:
    """Return the file's text: all netdevs kept quiet, those of a link with their addresses and MTU.

    It names no renderer: the host keeps the one that it has.
    """
    addresses: dict[str, list[str]] = {}
    for link in links:
        # On a switch a netdev has one link for each peer, all with the same address.
        if link["address"] not in addresses.setdefault(link["netdev"], []):
            addresses[link["netdev"]].append(link["address"])
    names = sorted({*netdevs, *addresses})
    if not names:
        raise NetplanError("there are no netdevs to configure: give the netdevs of the ConnectX-7")
    lines = ["network:", "  version: 2", "  ethernets:"]
    for name in names:
        if not _NETDEV.fullmatch(name):
            raise NetplanError(f"netdev {name!r} is no name of a network device")
        own_mtu = mtu if name in addresses else other_mtu
        # Without these NetworkManager asks for DHCP on every port that has a cable, and boot waits for those without.
        lines += [
            f"    {name}:",
            "      dhcp4: false",
            "      dhcp6: false",
            "      link-local: []",
            "      optional: true",
        ]
        if own_mtu is not None:
            lines.append(f"      mtu: {own_mtu}")
        if name in addresses:
            lines.append("      addresses:")
            for address in addresses[name]:
                if not _ADDRESS.fullmatch(address):
                    raise NetplanError(f"address {address!r} of {name} is not like 192.168.100.10/24")
                lines.append(f"        - {address}")
    return HEADER + "\n".join(lines) + "\n"
