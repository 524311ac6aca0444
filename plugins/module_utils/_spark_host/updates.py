# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What could be updated on a host, as apt and fwupdmgr say it, and what it serves meanwhile. Nothing is changed.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract

ETC, LIB = "/etc/dgx-spark", "/var/lib/dgx-spark"
REBOOT = "/run/reboot-required"
_STEP = re.compile(
    r"^Inst (?P<package>[a-z0-9][a-z0-9+.-]*)(?::[a-z0-9]+)?(?: \[(?P<before>[^\]]+)\])? \((?P<after>\S+)", re.MULTILINE
)
_GONE = re.compile(r"^Remv (?P<package>[a-z0-9][a-z0-9+.-]*)", re.MULTILINE)
#: what no update may take from a Spark, as the beginnings of packages' names
NEEDED = ("docker", "containerd", "moby-", "nvidia-", "libnvidia-", "dgx-", "linux-image", "openssh-server", "netplan")


def upgrades(simulation: str) -> list[str]:
    """Return in words what ``apt-get --simulate`` would install or upgrade.

    >>> upgrades("Inst jq [1.6] (1.7 Debian:13 [arm64])\\nInst yq (2 a:1 [all])\\nConf jq (1.7)\\n")
    ['jq 1.6 -> 1.7', 'yq (new) 2']
    """
    return [
        f"{one['package']} {one['before']} -> {one['after']}"
        if one["before"]
        else f"{one['package']} (new) {one['after']}"
        for one in _STEP.finditer(simulation)
    ]


def removals(simulation: str) -> list[str]:
    """Return the packages that would be removed.

    >>> removals("Remv docker-ce [29]\\n")
    ['docker-ce']
    """
    return sorted({one["package"] for one in _GONE.finditer(simulation)})


def needed(packages: list[str]) -> list[str]:
    """Return those of the packages that a Spark needs.

    >>> needed(["docker-ce", "jq"])
    ['docker-ce']
    """
    return [name for name in packages if name.startswith(NEEDED)]


def firmware(said: str) -> list[str]:
    """Return in words what ``fwupdmgr get-updates --json`` offers; nothing of what has another form.

    >>> firmware('{"Devices": [{"Name": "UEFI", "Version": "1", "Releases": [{"Version": "3"}, {"Version": "2"}]}]}')
    ['UEFI 1 -> 3']
    """
    try:
        devices = json.loads(said).get("Devices")
    except (AttributeError, RecursionError, ValueError):
        return []
    found = []
    for device in devices if isinstance(devices, list) else []:
        releases = device.get("Releases") if isinstance(device, dict) else None
        newest = releases[0] if isinstance(releases, list) and releases and isinstance(releases[0], dict) else {}
        if newest.get("Version"):
            found.append(f"{device.get('Name', 'a device')} {device.get('Version', '?')} -> {newest['Version']}")
    return found


def servings(etc: str = ETC, lib: str = LIB) -> list[dict[str, Any]]:
    """Return what is configured on the host: ``engine``, ``instance``, ``members``, and whether it was ``stopped``."""
    found = []
    for path in sorted(Path(etc).glob(f"*/{contract.CLUSTER}")):
        folder, cluster = path.parent.name, _json(path)
        about, nodes = cluster.get("engine"), cluster.get("nodes")
        engine = str(about.get("name") or folder) if isinstance(about, dict) else folder
        state = _json(Path(lib, folder, contract.STATE))
        found.append(
            {
                "engine": engine,
                "instance": folder[len(engine) + 1 :] if folder.startswith(f"{engine}-") else "",
                "members": [str(one.get("name")) for one in nodes if isinstance(one, dict)]
                if isinstance(nodes, list)
                else [],
                "stopped": (state.get("phase"), state.get("reason")) == (contract.STOPPED, contract.BY_STOP),
            }
        )
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
