# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Render the fabric's netplan file.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from typing import Any, Mapping

HEADER = "# Ansible managed (sparkops.dgx_spark.cx7_network): changes made here will be lost.\n"
NETPLAN = "/etc/netplan"
_NETDEV = re.compile(r"[A-Za-z0-9_.-]{1,15}", re.ASCII)
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}/\d{1,2}", re.ASCII)


class NetplanError(ValueError):
    """The netplan file cannot be rendered from this."""


def render(netdevs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the file's text. Netdevs without a cable get no address and no DHCP.

    The file names no renderer, so that the host keeps its own, but where a setting is NetworkManager's alone.

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
        if wanted.get("quiet"):  # to NetworkManager 'link-local: []' says nothing
            lines += ["      renderer: NetworkManager", "      networkmanager:", "        passthrough:"]
            lines.append("          ipv4.method: disabled")
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
