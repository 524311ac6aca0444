# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what RDMA devices have carried, from sysfs.

Source: the kernel's Documentation/ABI/stable/sysfs-class-infiniband. Data is counted in words of four bytes.

This module util is private to the collection.
"""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Sequence

WORD = 4  # bytes
SYSFS_ROOT = "/sys/class/infiniband"


class CountersError(ValueError):
    """A device that is not there, or that counts nothing; the message names it and the mend."""


def read_port(port: Path) -> dict[str, int]:
    """``sent_bytes`` and ``received_bytes`` of one port.

    :param port: its directory, such as ``/sys/class/infiniband/rocep1s0f0/ports/1``.
    """
    counters = {"sent_bytes": "port_xmit_data", "received_bytes": "port_rcv_data"}
    try:
        return {name: WORD * int((port / "counters" / file).read_text()) for name, file in counters.items()}
    except (OSError, ValueError) as error:
        raise CountersError(f"{port} does not tell what it carried: {error}") from error


def read(root: Path, devices: Sequence[str]) -> dict[str, dict[str, int]]:
    """The bytes that each device has carried on all its ports since its driver was loaded.

    :param root: where the class directory is, ``/sys/class/infiniband``.
    """
    found: dict[str, dict[str, int]] = {}
    for device in devices:
        ports = sorted((root / device / "ports").glob("[0-9]*"))
        if not ports:
            there = ", ".join(sorted(path.name for path in root.glob("*"))) or "none"
            raise CountersError(f"no RDMA device {device} in {root}, there is {there}: check that its driver is loaded")
        each = [read_port(port) for port in ports]
        found[device] = {name: sum(port[name] for port in each) for name in ("sent_bytes", "received_bytes")}
    return found


#: of a module, as the doc fragment ``rdma_counters`` describes them
OPTIONS = {
    "devices": {"type": "list", "elements": "str", "required": True},
    "sysfs_root": {"type": "path", "default": SYSFS_ROOT},
}


def totals(devices: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return ``sent_bytes`` and ``received_bytes`` of all devices together."""
    return {name: total(devices, name) for name in ("sent_bytes", "received_bytes")}


def total(devices: Mapping[str, Mapping[str, int]], name: str) -> int:
    """The sum of one counter over all devices."""
    return sum(device[name] for device in devices.values())
