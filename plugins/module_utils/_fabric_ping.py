# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is private to the collection: it may change at any time.
"""Pings that may not fragment: how to send them, what they say, and what to do when they do not come back."""

from __future__ import annotations

import re
import typing as t

_RTT = re.compile(r"(?:rtt|round-trip) min/avg/max(?:/mdev)? = ([\d.]+)/([\d.]+)/([\d.]+)")
_TOO_LONG = re.compile(r"(?:message too long|Frag needed and DF set)(?:(?:, mtu=| \(mtu = )(\d+))?", re.IGNORECASE)
_NO_DEVICE = re.compile(r"unknown iface|No such device", re.IGNORECASE)
_NO_ADDRESS = re.compile(r"Cannot assign requested address|bind: ", re.IGNORECASE)

COUNT = 3
HEADERS = 28  # IPv4 and ICMP


def ping_command(ping: str, link: t.Mapping[str, t.Any], size: int) -> list[str]:
    """Return the command for pings of ``size`` bytes of data, out of the link's netdev, from its own address."""
    source = link["address"].split("/")[0]
    quickly = ["-n", "-q", "-c", str(COUNT), "-i", "0.2", "-W", "1"]
    return [ping, *quickly, "-M", "do", "-s", str(size), "-I", link["netdev"], "-I", source, link["peer_address"]]


def parse_rtt(output: str) -> dict[str, float] | None:
    """Return the round-trip times in milliseconds, null where nothing came back."""
    match = _RTT.search(output)
    return dict(zip(("min_ms", "avg_ms", "max_ms"), map(float, match.groups()))) if match else None


def explain(
    host: str, link: t.Mapping[str, t.Any], mtu: int, output: str, carrier: bool | None, small_passes: bool
) -> str:
    """Say what is wrong with the link, and what to do, from what the pings said.

    :param output: of the ping of the planned size; ``carrier`` of the netdev; whether a small ping passes.
    """
    netdev, peer = link["netdev"], link["peer"]
    who = (
        f"{host} {netdev} (cage {link['physical_port']}, half {link['half']}) to {peer} ({link['peer_address']}, "
        f"cage {link['peer_physical_port']})"
    )
    too_long = _TOO_LONG.search(output)
    if _NO_DEVICE.search(output):
        return f"{who}: there is no netdev {netdev} any more: look at 'ip -br link' on {host}, and run again"
    if not carrier:
        return (
            f"{who}: {netdev} has no carrier: reseat the QSFP cable in cage {link['physical_port']} of {host} and in "
            f"cage {link['peer_physical_port']} of {peer}, and see that {peer} is switched on"
        )
    if _NO_ADDRESS.search(output):
        return (
            f"{who}: {netdev} does not have the address {link['address']}: see 'networkctl status {netdev}' or 'nmcli "
            f"device show {netdev}' for what took it away, then 'sudo netplan apply' on {host}"
        )
    if too_long:
        found = too_long[1] or "smaller"
        return (
            f"{who}: packets of {mtu} bytes do not leave, the MTU is {found}: look who else sets it ('grep -r mtu "
            f"/etc/netplan' on {host}), or set a smaller cx7_network_mtu for all hosts"
        )
    if small_passes:
        return (
            f"{who}: small packets pass, but not those of {mtu} bytes: {peer}, or a switch between, has a smaller MTU; "
            f"see 'ip link' on {peer} for its fabric netdevs, or set cx7_network_mtu to what the switch carries"
        )
    return (
        f"{who}: nothing answers although there is a signal: see on {peer} whether {link['peer_address']} is there "
        f"('ip -br -4 addr') and no firewall drops it ('ufw status'); if the cables run to other cages than planned, "
        "say so in cx7_network_cables"
    )
