# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check a link by pings that may not fragment, the MAC address that answers, speed and GIDs.

This module util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any, Iterable, Mapping, Sequence

_RTT = re.compile(r"(?:rtt|round-trip) min/avg/max(?:/mdev)? = (\d+\.?\d*)/(\d+\.?\d*)/(\d+\.?\d*)(?![\d.])")
_TOO_LONG = re.compile(r"(?:message too long|Frag needed and DF set)(?:(?:, mtu=| \(mtu = )(\d+))?", re.IGNORECASE)
_NO_DEVICE = re.compile(r"unknown iface|No such device", re.IGNORECASE)
_NO_ADDRESS = re.compile(r"Cannot assign requested address|bind: ", re.IGNORECASE)

COUNT = 3
HEADERS = 28  # IPv4 and ICMP


def ping_command(ping: str, link: Mapping[str, Any], size: int) -> list[str]:
    """Return the command for pings of ``size`` bytes of data, out of the link's netdev, from its own address."""
    source = link["address"].split("/")[0]
    # iputils lets users wait as little as 2 ms (Ubuntu 24.04 has 20240117), older ones 200 ms.
    quickly = ["-n", "-q", "-c", str(COUNT), "-i", "0.05", "-W", "1"]
    return [ping, *quickly, "-M", "do", "-s", str(size), "-I", link["netdev"], "-I", source, link["peer_address"]]


def parse_rtt(output: str) -> dict[str, float] | None:
    """Return the round-trip times in milliseconds, null where nothing came back."""
    match = _RTT.search(output)
    return dict(zip(("min_ms", "avg_ms", "max_ms"), map(float, match.groups()))) if match else None


def neighbor_mac(neigh: str) -> str | None:
    """Return the hardware address in the output of ``ip -j neigh show to ADDRESS dev NETDEV``."""
    try:
        return next(
            (entry["lladdr"].lower() for entry in json.loads(neigh.strip() or "[]") if entry.get("lladdr")), None
        )
    except (AttributeError, RecursionError, TypeError, ValueError):
        return None


def has_roce_v2(gids: Iterable[tuple[str, str]], address: str) -> bool:
    """Tell whether a GID table, as pairs of GID and type, has a RoCE v2 entry for an IPv4 address."""
    wanted = ipaddress.IPv6Address(f"::ffff:{address.split('/')[0]}")
    return any(kind == "RoCE v2" and _same_address(gid, wanted) for gid, kind in gids)


def _same_address(gid: str, wanted: ipaddress.IPv6Address) -> bool:
    try:
        return ipaddress.IPv6Address(gid) == wanted
    except ValueError:  # an entry that the driver is still writing
        return False


def link_problems(
    host: str,
    link: Mapping[str, Any],
    mac: str | None,
    speed: int | None,
    wanted_speed: int,
    gids: Sequence[tuple[str, str]] | None,
    unusable: str = "",
) -> list[str]:
    """Return the problems of a link that answers, each with its mend.

    :param mac: MAC address that answered. :param speed: in Mb/s; ``wanted_speed`` 0 accepts any. :param gids: of the
        RDMA device, None where there is none. :param unusable: why programs cannot use that device, empty if they can.
    """
    name, found = _link_name(host, link), []
    if link.get("peer_mac") and mac != link["peer_mac"]:
        found.append(
            f"{name}: {mac or 'no MAC address'} answers for {link['peer_address']}, and the planned half has "
            f"{link['peer_mac']}: see on {link['peer']} that net.ipv4.conf.<netdev>.arp_ignore is 1 and arp_announce "
            "is 2 for both halves "
            "('sysctl -a -r arp_'), or who else has that address"
        )
    if wanted_speed and speed != wanted_speed:
        found.append(
            f"{name}: the link runs at {speed or 'no known'} Mb/s, and {wanted_speed} are wanted: use a cable for 200 "
            "Gb/s (a switch may need its port set to 200 Gb/s), or set cx7_network_speed_mbps (0 waives it)"
        )
    if gids is not None and not has_roce_v2(gids, link["address"]):
        found.append(
            f"{name}: the GID table of {link['rdma_device']} has no RoCE v2 entry for {link['address'].split('/')[0]}, "
            f"so NCCL would fall back to TCP: take {link['netdev']} down and up, and see 'show_gids' on {host}"
        )
    if gids is not None and unusable:
        found.append(
            f"{name}: RDMA cannot be used, because {unusable}, and NCCL would fall back to TCP "
            f"('NET/Socket' in its log): 'sudo modprobe -a ib_uverbs rdma_cm' on {host}, and see 'dmesg' for mlx5"
        )
    return found


def _link_name(host: str, link: Mapping[str, Any]) -> str:
    return (
        f"{host} {link['netdev']} (cage {link['physical_port']}, half {link['half']}) to {link['peer']} "
        f"({link['peer_address']}, cage {link['peer_physical_port']})"
    )


def explain(
    host: str,
    link: Mapping[str, Any],
    mtu: int,
    output: str,
    carrier: bool | None,
    small_passes: bool,
    own_mtu: int | None = None,
) -> str:
    """Return why nothing answers on a link, and the mend.

    :param output: of the ping of the planned size. :param carrier: of the netdev, as ``own_mtu``. :param small_passes:
        whether a small ping is answered.
    """
    netdev, peer = link["netdev"], link["peer"]
    name = _link_name(host, link)
    too_long = _TOO_LONG.search(output)
    if _NO_DEVICE.search(output):
        return f"{name}: there is no netdev {netdev} any more: look at 'ip -br link' on {host}, and run again"
    if not carrier:
        return (
            f"{name}: {netdev} has no carrier: reseat the QSFP cable in cage {link['physical_port']} of {host} and in "
            f"cage {link['peer_physical_port']} of {peer}, and check that {peer} is switched on"
        )
    if _NO_ADDRESS.search(output):
        return (
            f"{name}: {netdev} does not have the address {link['address']}: see 'networkctl status {netdev}' or 'nmcli "
            f"device show {netdev}' for what took it away, and run again"
        )
    if too_long or (own_mtu or mtu) < mtu:  # a quiet ping does not always say so
        found = (too_long and too_long[1]) or own_mtu or "smaller"
        return (
            f"{name}: packets of {mtu} bytes do not leave, the MTU is {found}: find what else sets it ('grep -r mtu "
            f"/etc/netplan' on {host}), or set a smaller cx7_network_mtu for all hosts"
        )
    if small_passes:
        return (
            f"{name}: small packets pass, but not those of {mtu} bytes: {peer}, or a switch between, has a smaller "
            f"MTU; see 'ip link' on {peer} for its fabric netdevs, or set cx7_network_mtu to what the switch carries"
        )
    return (
        f"{name}: nothing answers although there is a signal: see on {peer} whether {link['peer_address']} is there "
        f"('ip -br -4 addr') and no firewall drops it ('ufw status')"
    )
