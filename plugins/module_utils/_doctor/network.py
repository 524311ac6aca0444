# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read of a host its fabric: links, addresses, hot-plug, device nodes, counters, netplan's files. Nothing is written.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor.system import text_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric import verbs
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.hotplug import read_hotplug
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.ibdev2netdev import describe_links, read_sysfs
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.bounded import UnreadError, run

#: counters of a port that only errors move; by directory
ERRORS = {
    "counters": ("symbol_error", "port_rcv_errors", "local_link_integrity_errors"),
    "hw_counters": ("local_ack_timeout_err", "packet_seq_err", "out_of_sequence", "rnr_nak_retry_err"),
}
STAMP = "/var/lib/dgx-spark/fabric/bandwidth.json"
TRANSIENT = "/run/systemd/transient"


def addresses(sysfs: str = "/sys") -> list[dict[str, Any]]:
    """The host's IPv4 addresses, loopback left out: ``netdev``, ``address``, ``prefix``, whether by DHCP (``dynamic``),
    whether of a bridge that leads to no port of the host (``inner``), and whether there is ``carrier``.
    """
    code, said = run(["ip", "-j", "-4", "address"])
    if code:
        raise UnreadError(f"'ip -j -4 address' ends with status {code}: {said.strip()[:100]}")
    return [
        {
            "netdev": entry["ifname"],
            "address": info["local"],
            "prefix": info["prefixlen"],
            "dynamic": bool(info.get("dynamic")),
            "inner": _is_inner(Path(sysfs, "class/net", entry["ifname"])),
            "carrier": "LOWER_UP" in entry.get("flags", ["LOWER_UP"]),
        }
        for entry in json.loads(said.strip() or "[]")
        if entry
        for info in entry.get("addr_info", [])
        if info.get("family") == "inet" and info.get("scope") != "host"
    ]


def _is_inner(device: Path) -> bool:
    members = (device / "brif").glob("*")
    return (device / "bridge").is_dir() and not any((device.parent / one.name / "device").exists() for one in members)


def links(sysfs: str = "/sys") -> list[dict[str, Any]]:
    """The RoCE links as ``ibdev2netdev_info`` describes them, each with its ``errors`` and ``carrier_changes``."""
    ipv4: dict[str, list[str]] = {}
    for one in addresses():
        ipv4.setdefault(one["netdev"], []).append(f"{one['address']}/{one['prefix']}")
    return [{**link, **_more(sysfs, link)} for link in describe_links(read_sysfs(sysfs), sysfs, ipv4)]


def _more(sysfs: str, link: dict[str, Any]) -> dict[str, Any]:
    port = Path(sysfs, "class/infiniband", link["rdma_device"], "ports", str(link["port"]))
    numbers = {name: _number(port / folder / name) for folder, names in ERRORS.items() for name in names}
    changes = _number(Path(sysfs, "class/net", link["netdev"] or "(none)", "carrier_changes"))
    return {
        "errors": {name: count for name, count in numbers.items() if count},
        "carrier_changes": changes,
        "firmware": _attribute(Path(sysfs, "class/infiniband", link["rdma_device"], "fw_ver")),
    }


def _attribute(path: Path) -> str:
    try:
        return text_of(path)
    except OSError:  # a driver that does not know it, or not now
        return ""


def _number(path: Path) -> int:
    said = _attribute(path)
    return int(said) if said.isdigit() else 0


def card(devices: Sequence[str]) -> dict[str, Any]:
    """The hot-plug driver's state, and what keeps programs from using the RoCE devices, in words."""
    return {**read_hotplug(), "verbs": verbs.condition(devices).words if devices else ""}


def netplan(folder: Path = Path("/etc/netplan")) -> list[dict[str, Any]]:
    """The files of netplan, with mode and owner. What is in them may be secret (Wi-Fi), and is not read."""
    return [
        {
            "path": str(path),
            "mode": f"{stat.S_IMODE(path.stat().st_mode):04o}",
            "owner": path.stat().st_uid,
        }
        for path in sorted(folder.glob("*.yaml"))
    ]


def measured(path: str = STAMP) -> dict[str, Any]:
    """What the role cx7_network measured last (``measured``, by peer), empty where it did not."""
    text = text_of(path)
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return {name: found[name] for name in ("tool", "measured") if name in found} if isinstance(found, dict) else {}


def rollback_pending(folder: str = TRANSIENT) -> bool:
    """Whether the timer of an interrupted change of the fabric is still to come."""
    names = ("dgx-spark-fabric-rollback.*", "dgx-spark-fabric-way-back.*")
    return any(any(Path(folder).glob(name)) for name in names)


def lacking_files(spec: str, root: Path = Path("/")) -> list[str]:
    """The files of the host that a CDI specification mounts and that are not there.

    :param spec: its text, as nvidia-ctk writes it.

    >>> lacking_files("  - containerPath: /x\\n    hostPath: /no/such/libcuda.so.580.1\\n", Path("/"))
    ['/no/such/libcuda.so.580.1']
    """
    paths = re.findall(r"""^\s*(?:-\s*)?"?hostPath"?:\s*["']?([^"'\n,]+)""", spec, re.MULTILINE)
    return sorted({path for path in paths if not (root / path.lstrip("/")).exists()})


def cdi(folders: Sequence[str] = ("/etc/cdi", "/var/run/cdi")) -> list[dict[str, Any]]:
    """The CDI specifications for NVIDIA, each with the files that it names in vain."""
    found = []
    for folder in folders:
        for path in sorted(Path(folder).glob("*nvidia*")):
            if path.suffix in (".yaml", ".json"):
                found.append({"path": str(path), "lacking": lacking_files(text_of(path))})
    return found
