# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hot-plug driver of newer DGX OS, which takes a ConnectX-7 without a live cable off the PCI bus.

DGX OS switches it on at boot where the marker is there (package ``dgx-spark-mlnx-hotplug``, kernel driver
``cx7-pcie-hotplug`` of the ACPI device ``MTKP0001``). Only its state is read here. Nothing in this collection writes to
the driver or to the PCI bus, since cards were lost by that.

This module util is private to the collection.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

MARKER = "/etc/nvidia/cx7-hotplug-enabled"
ATTRIBUTES = "/sys/devices/platform/MTKP0001:00/pcie_hotplug"


def read_hotplug(marker: str = MARKER, attributes: str = ATTRIBUTES) -> dict[str, bool | None]:
    """Return the state of the driver.

    ``marker``: whether it is switched on at the next boot; ``enabled``: whether it is on now; ``cable``: whether it
    sees a live cable. The latter two are None where there is no such driver.
    """
    return {
        "marker": Path(marker).exists(),
        "enabled": _flag(Path(attributes, "hotplug_enabled")),
        "cable": _flag(Path(attributes, "debug_state")),
    }


def is_on(hotplug: Mapping[str, Any] | None) -> bool:
    """Whether the driver switches the card off now, or will after the next boot.

    >>> is_on({"marker": False, "enabled": True, "cable": False}), is_on(None)
    (True, False)
    """
    return bool(hotplug and (hotplug.get("marker") or hotplug.get("enabled")))


def _flag(attribute: Path) -> bool | None:
    try:
        return {"1": True, "0": False}.get(attribute.read_text(encoding="ascii", errors="replace").strip())
    except OSError:
        return None
