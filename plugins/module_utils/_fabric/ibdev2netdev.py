# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""RDMA ports and their network devices, as ``ibdev2netdev`` prints them or as sysfs has them.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Iterable, NamedTuple

# A verbose line is anchored at both ends, because its middle (part number and description, from the card's VPD) may
# hold anything, parentheses and commas included; the PCI address before the device's name may be missing.
_LINE = re.compile(
    r"""
    (?: (?P<plain>[^\s/\0]{1,63})
      | (?:\S*\ )? (?P<verbose>[^\s/\0]{1,63}) \ \(.*\ fw\ \S*
    )
    \ port\ (?P<port>\d{1,5})
    (?(verbose)\ \([^()]*\))
    \ ==>\ +(?P<netdev>[^\s/\0]{1,63})\ \((?P<state>Up|Down|NA|)\)
    """,
    re.VERBOSE | re.ASCII,
)
_PCI_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
# The port's own number (np1) if the name has it, else that of its PCI function (f1).
_PORT_IN_NAME = re.compile(r"np(\d{1,3})$|s\d+f(\d{1,3})(?:(?!np\d+$)[nvdr]\w*)?$", re.ASCII)


class Ibdev2netdevError(ValueError):
    """What a tool printed cannot be read."""


class Mapping(NamedTuple):
    """What one line of the tool says."""

    rdma_device: str
    port: int
    netdev: str | None
    state: str


def parse_ibdev2netdev(text: str) -> list[Mapping]:
    """Read the output of ``ibdev2netdev``, with or without ``-v``; refuse a line of any other form."""
    mappings: dict[tuple[str, int], Mapping] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            raise Ibdev2netdevError(
                f"line {number} of ibdev2netdev's output cannot be read: {line.rstrip()!r} "
                "(expected 'DEVICE port N ==> INTERFACE (Up|Down|NA)')"
            )
        key = (match["plain"] or match["verbose"], int(match["port"]))
        if key in mappings:
            raise Ibdev2netdevError(
                f"line {number} of ibdev2netdev's output names device {key[0]!r} port {key[1]} a second time: "
                f"{line.rstrip()!r}"
            )
        mappings[key] = Mapping(key[0], key[1], match["netdev"], match["state"].lower() or "na")
    return list(mappings.values())


def parse_ip_addresses(text: str) -> dict[str, list[str]]:
    """Read the output of ``ip -j -4 addr``: the addresses of each interface, as ``address/prefix length``."""
    try:
        # Some versions of iproute2 print an empty object for an interface without an IPv4 address.
        return {
            entry["ifname"]: [
                f"{info['local']}/{info['prefixlen']}" for info in entry["addr_info"] if info["family"] == "inet"
            ]
            for entry in json.loads(text.strip() or "[]")
            if entry
        }
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise Ibdev2netdevError(f"the output of 'ip -j -4 addr' cannot be read ({exc!r}): {text[:200]!r}") from exc


def read_sysfs(root: str) -> list[Mapping]:
    """Find in sysfs what the tool would say, for RDMA devices of any make."""
    return [
        Mapping(device.name, int(port.name), netdev, _state(root, netdev))
        for device in _entries(Path(root, "class", "infiniband"))
        for port in _entries(device / "ports")
        if port.name.isdecimal()
        for netdev in [_find_netdev(root, device, port)]
    ]


def describe_links(mappings: Iterable[Mapping], root: str, ipv4: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Add to each mapping what sysfs knows of it, null where that cannot be read.

    A bond takes the GIDs of its ports, so that an RDMA device of theirs names the bond: the port is meant.
    """
    links = []
    for mapping in sorted(mappings, key=lambda mapping: mapping[:2]):
        mapping = mapping._replace(netdev=_port_of(root, mapping))
        net = _net(root, mapping.netdev)
        flags = _read_int(net / "flags", 16)
        carrier = {"1": True, "0": False}.get(_read(net / "carrier") or "")
        speed = _read_int(net / "speed")
        # -1 (or the same as an unsigned number) means unknown; without carrier some drivers keep the last value.
        known = bool(carrier) and speed is not None and 0 < speed < 2**31 - 1
        netdev_pci = _pci_address(net / "device")
        pci_address = _pci_address(Path(root, "class", "infiniband", mapping.rdma_device, "device")) or netdev_pci
        # A bond has no PCI function of its own; that of its RDMA device says nothing of a cage.
        own_pci = pci_address if mapping.netdev is None else netdev_pci
        links.append(
            {
                "rdma_device": mapping.rdma_device,
                "port": mapping.port,
                "netdev": mapping.netdev,
                "master": _master(root, mapping.netdev),
                "state": mapping.state,
                "admin_up": None if flags is None else bool(flags & 1),
                "carrier": carrier,
                "speed_mbps": speed if known else None,
                "mtu": _read_int(net / "mtu"),
                "mac": _read(net / "address"),
                "ipv4": ipv4.get(mapping.netdev or "", []),
                "pci_address": pci_address,
                "physical_port": physical_port(
                    _read(net / "phys_port_name"), mapping.netdev or mapping.rdma_device, own_pci
                ),
                "half": None,
            }
        )
    _name_halves(links)
    return links


def physical_port(phys_port_name: str | None, name: str, pci_address: str | None) -> int | None:
    """Tell the QSFP cage: from the driver's word for the port, else the interface's name, else its PCI function."""
    reported = re.fullmatch(r"p(\d{1,3})", phys_port_name or "", re.ASCII)
    if reported:
        return int(reported[1])
    named = _PORT_IN_NAME.search(name)
    if named:
        return int(named[1] or named[2])
    return int(pci_address[-1]) if pci_address else None


def group_ports(links: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Group the links by QSFP cage, half A first; a link whose cage is not known is in no group."""
    cages: dict[int, list[dict[str, Any]]] = {}
    for link in sorted(links, key=lambda link: (link["half"] or "", _pci_key(link), link["rdma_device"], link["port"])):
        if link["physical_port"] is not None:
            cages.setdefault(link["physical_port"], []).append(link)
    return [
        {
            "physical_port": cage,
            "state": members[0]["state"] if len({link["state"] for link in members}) == 1 else "mixed",
            "rdma_devices": [link["rdma_device"] for link in members],
            "netdevs": [link["netdev"] for link in members if link["netdev"] is not None],
        }
        for cage, members in sorted(cages.items())
    ]


def _name_halves(links: list[dict[str, Any]]) -> None:
    # Each cage of a DGX Spark hangs on two PCI domains, with the same function number in both.
    domains: dict[str, set[int]] = {}
    for link in links:
        if link["pci_address"]:
            domains.setdefault(link["pci_address"][-1], set()).add(_pci_key(link)[0])
    for link in links:
        siblings = sorted(domains[link["pci_address"][-1]]) if link["pci_address"] else []
        if len(siblings) > 1:
            link["half"] = dict(zip(siblings, "AB")).get(_pci_key(link)[0])


def _pci_key(link: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(part, 16) for part in re.split("[:.]", link["pci_address"] or "ffffffff"))


def _find_netdev(root: str, device: Path, port: Path) -> str | None:
    # The kernel's own word first; ``parent`` is soft-RoCE's.
    named = _read(port / "gid_attrs" / "ndevs" / "0") or _read(device / "parent")
    pci = _pci_address(device / "device")
    if named or pci is None:
        return named
    # One PCI function may carry several: those of its other ports, and representors of virtual functions.
    found = [
        net
        for net in _entries(Path(root, "class", "net"))
        if _pci_address(net / "device") == pci and _read_int(net / "dev_port") in (None, int(port.name) - 1)
    ]
    physical = [net for net in found if re.fullmatch(r"p\d+", _read(net / "phys_port_name") or "")]
    return next((net.name for net in physical or found), None)


def _port_of(root: str, mapping: Mapping) -> str | None:
    """Return the port of an RDMA device whose GIDs are those of a bond, else the netdev that it names."""
    ports = [net.name for net in _entries(Path(root, "class", "net")) if _master(root, net.name) == mapping.netdev]
    if not mapping.netdev or not ports:
        return mapping.netdev
    pci = _pci_address(Path(root, "class", "infiniband", mapping.rdma_device, "device"))
    place = mapping.rdma_device[4:] if mapping.rdma_device.startswith("roce") else None  # p1s0f0, as in enp1s0f0np0
    found = [name for name in ports if pci and _pci_address(_net(root, name) / "device") == pci]
    found += [name for name in ports if place and re.fullmatch(rf"en{re.escape(place)}(np\d+)?", name)]
    return (found or ports)[0]


def _master(root: str, netdev: str | None) -> str | None:
    """Return the bond, bridge or VRF that a netdev is in."""
    link = _net(root, netdev) / "master"
    try:
        return Path(os.readlink(link)).name
    except OSError:
        return None


def _state(root: str, netdev: str | None) -> str:
    net = _net(root, netdev)
    if netdev is None or not net.is_dir():
        return "na"
    # The carrier of an interface that is administratively down cannot be read, and the tool says Down.
    return "up" if _read(net / "carrier") == "1" else "down"


def _net(root: str, netdev: str | None) -> Path:
    return Path(root, "class", "net", netdev or "(none)")


def _pci_address(device: Path) -> str | None:
    # The path may end in something else (virtio3, a sub-function): the last part that is a PCI address is meant.
    # Unlike Path.resolve, this does not raise for a link that leads to itself.
    parts = [part for part in Path(os.path.realpath(device)).parts if _PCI_ADDRESS.fullmatch(part)]
    return parts[-1] if parts else None


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _read(attribute: Path) -> str | None:
    # A driver that does not know an attribute, or not now, answers EOPNOTSUPP or EINVAL.
    try:
        return attribute.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def _read_int(attribute: Path, base: int = 10) -> int | None:
    try:
        return int(_read(attribute) or "", base)
    except ValueError:
        return None
