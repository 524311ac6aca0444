# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a lab of virtual Sparks: names, addresses, cables. Pure functions, nothing is touched.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from pathlib import Path
from typing import Any, Iterable, Sequence, Tuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.routes import Route

CAP_SYS_RESOURCE = 24
MAX_SPARKS = 8  # what one switch-less desk, and one 24 GiB machine, can carry
POOL = ipaddress.IPv4Network("10.203.0.0/16")  # a /24 of it is a lab's management network
SWITCH = "switch"
CABLINGS = ("auto", "none", "direct", "direct_port1", "crossed", "two_cables", "ring", "switch")
#: DGX Spark's ConnectX-7 functions: (QSFP cage, PCIe half) -> netdev
NETDEVS = {
    (0, "A"): "enp1s0f0np0",
    (0, "B"): "enP2p1s0f0np0",
    (1, "A"): "enp1s0f1np1",
    (1, "B"): "enP2p1s0f1np1",
}
#: the names that the lab's internet answers to; .test can never be anybody's
INTERNET = ("nvcr.test", "huggingface.test", "apt.test")
_NAME = re.compile(r"^[a-z][a-z0-9-]{0,19}$")
_END = re.compile(r"^(spark[1-8]):([01])$")

Cable = Tuple[str, str]


class LabError(ValueError):
    """The lab cannot be built as asked; the message says why and what to change."""


def digest(*parts: str) -> str:
    """Hex SHA-256 over ``parts``, kept apart from one another."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def tree_digest(roots: Iterable[str]) -> str:
    """Hex SHA-256 over files and all files below directories: relative path, executable bit and content."""
    total = hashlib.sha256()
    for root in map(Path, roots):
        for path in [root] if root.is_file() else sorted(root.rglob("*")):
            if "__pycache__" in path.parts or not (path.is_file() or path.is_symlink()):
                continue
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            executable = int(bool(path.lstat().st_mode & 0o111))
            total.update(f"{path.relative_to(root.parent)}\0{executable}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def registry_of(image: str) -> tuple[str, int]:
    """Host and port of the registry that an image's name begins with.

    >>> registry_of("docker.io/library/debian:trixie-slim")
    ('registry-1.docker.io', 443)
    """
    first = image.split("/", 1)[0] if "/" in image else ""
    if not ("." in first or ":" in first or first == "localhost") or first == "docker.io":
        return "registry-1.docker.io", 443
    host, _colon, port = first.partition(":")
    return host, int(port or 443)


def container_needs(status: str, cgroup_v2: bool) -> dict[str, Any]:
    """What a systemd container needs on this machine.

    :param status: ``/proc/self/status``; a capability outside CapBnd cannot be given to a container.
    :returns: ``cap_drop``, ``cgroupns``, ``cgroup_volumes`` and ``systemd_cmdline``.
    """
    match = re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, re.MULTILINE)
    if not match:
        raise LabError("/proc/self/status names no capability bounding set (CapBnd); is this Linux?")
    bounding = int(match.group(1), 16)
    # The clock and the kernel's modules belong to the machine, not to a container on it.
    drop = ["SYS_TIME", "SYS_MODULE"] + ([] if bounding >> CAP_SYS_RESOURCE & 1 else ["SYS_RESOURCE"])
    if cgroup_v2:
        return {"cap_drop": drop, "cgroupns": "private", "cgroup_volumes": [], "systemd_cmdline": ""}
    return {
        "cap_drop": drop,
        # With a private namespace, the Docker Engine inside does not find its cgroup on v1.
        "cgroupns": "host",
        "cgroup_volumes": ["/sys/fs/cgroup:/sys/fs/cgroup:rw"],
        "systemd_cmdline": "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 systemd.unified_cgroup_hierarchy=0",
    }


def cables_for(cabling: str, count: int) -> list[Cable]:
    """The cables of a named cabling; each is a pair of ends ``sparkN:CAGE``, or one end and the switch.

    >>> cables_for("crossed", 2)
    [('spark1:0', 'spark2:1')]
    """
    if cabling == "auto":
        cabling = {1: "none", 2: "direct", 3: "ring"}.get(count, "switch")
    if cabling == "none":
        return []
    if cabling == "switch":
        return [(f"spark{i}:0", SWITCH) for i in range(1, count + 1)]
    if cabling == "ring":
        if count < 3:
            raise LabError(f"cabling 'ring' needs 3 Sparks or more, not {count}; use 'direct' or raise the count")
        return [(f"spark{i}:0", f"spark{i % count + 1}:1") for i in range(1, count + 1)]
    pairs = {
        "direct": [("spark1:0", "spark2:0")],
        "direct_port1": [("spark1:1", "spark2:1")],
        "crossed": [("spark1:0", "spark2:1")],
        "two_cables": [("spark1:0", "spark2:0"), ("spark1:1", "spark2:1")],
    }
    if cabling not in pairs:
        raise LabError(f"cabling {cabling!r} is not one of {', '.join(CABLINGS)}")
    if count != 2:
        raise LabError(f"cabling {cabling!r} joins exactly 2 Sparks, not {count}; use 'ring' or 'switch'")
    return pairs[cabling]


def check_cables(cables: Iterable[Sequence[str]], count: int) -> list[Cable]:
    """Refuse a cable that cannot exist: an unknown end, a cage used twice. From a Spark to itself it can, alas."""
    taken: dict[str, int] = {}
    checked: list[Cable] = []
    for number, cable in enumerate(cables, 1):
        if len(cable) != 2 or cable[0] == SWITCH:
            raise LabError(
                f"cable {number} ({cable!r}): give two ends, such as [spark1:0, spark2:0] or [spark1:0, switch]"
            )
        for end in cable:
            if end == SWITCH:
                continue
            match = _END.match(str(end))
            if not match or int(match.group(1)[5:]) > count:
                raise LabError(f"cable {number}: end {end!r} is not sparkN:0 or sparkN:1 with N from 1 to {count}")
            if end in taken:
                raise LabError(f"cable {number}: cage {end} already holds cable {taken[end]}")
            taken[end] = number
        checked.append((cable[0], cable[1]))
    return checked


def choose_subnet(lab: str, wanted: str, routes: Iterable[Route], bridge: str) -> ipaddress.IPv4Network:
    """The lab's management /24: ``wanted``, or one that follows from the lab's name alone.

    The choice never depends on what else runs, so that an inventory written once stays right.
    The route over the lab's own ``bridge`` does not count.
    """
    taken = [(network, device) for network, device in routes if device != bridge]

    def clash(network: ipaddress.IPv4Network) -> str | None:
        return next((f"{net} ({dev})" for net, dev in taken if network.overlaps(net)), None)

    candidates = list(POOL.subnets(new_prefix=24))
    start = int(digest(lab)[:8], 16) % len(candidates)
    if wanted:
        try:
            asked = ipaddress.ip_network(wanted)
        except ValueError as error:
            raise LabError(
                f"virtual_spark_subnet {wanted!r} is not an IPv4 network such as 10.203.7.0/24: {error}"
            ) from None
        if not isinstance(asked, ipaddress.IPv4Network) or asked.prefixlen > 27 or not asked.is_private:
            raise LabError(f"virtual_spark_subnet {wanted!r}: give a private IPv4 network of /27 or larger")
        subnet = asked
    else:
        subnet = candidates[start]
    used = clash(subnet)
    if used:
        free = next((net for net in candidates[start:] + candidates[:start] if not clash(net)), None)
        advice = f", for instance {free}" if free else ""
        raise LabError(
            f"the management network {subnet} of lab {lab!r} overlaps {used}, which this machine already routes; "
            f"set virtual_spark_subnet to a free one{advice}"
        )
    return subnet


def mac_address(lab: str, spark: int, nic: int) -> str:
    """A stable MAC address: NVIDIA's prefix, then a byte of the lab, the Spark and the NIC."""
    return f"3c:6d:66:{digest(lab)[:2]}:{spark:02x}:{nic:02x}"


def gpu_uuid(lab: str, spark: int) -> str:
    """A stable GPU UUID in nvidia-smi's spelling."""
    raw = digest(lab, "gpu", str(spark))
    return f"GPU-{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:32]}"


def plan(
    lab: str,
    count: int,
    cabling: str = "auto",
    cables: Sequence[Sequence[str]] | None = None,
    subnet: str = "",
    routes: Iterable[Route] = (),
) -> dict[str, Any]:
    """Everything that the lab will hold, computed once.

    :returns: ``lab``, ``label``, ``network`` (``name``, ``bridge``, ``subnet``, ``gateway``), ``internet`` and
        ``cabling`` (containers), ``sparks`` (``name``, ``container``, ``address``, ``gpu_uuid``, ``nics``), ``cables``.
    :raises LabError: when the lab cannot be built as asked.
    """
    if not _NAME.match(lab):
        raise LabError(
            f"virtual_spark_lab {lab!r} is no usable name: small letters, digits, hyphens, a letter first, 20 at most"
        )
    if not 1 <= count <= MAX_SPARKS:
        raise LabError(f"virtual_spark_count is {count}: a lab holds 1 to {MAX_SPARKS} virtual Sparks")
    wires = check_cables(cables if cables else cables_for(cabling, count), count)
    bridge = f"vs-{digest(lab)[:8]}"
    network = choose_subnet(lab, subnet, routes, bridge)

    def address(host: int) -> str:
        return str(network.network_address + host)

    return {
        "lab": lab,
        "label": f"sparkops.virtual_spark.lab={lab}",
        "network": {"name": f"{lab}-management", "bridge": bridge, "subnet": str(network), "gateway": address(1)},
        "internet": {"container": f"{lab}-internet", "address": address(2), "names": list(INTERNET)},
        "cabling": {"container": f"{lab}-cables"},
        "sparks": [
            {
                "name": f"spark{i}",
                "container": f"{lab}-spark{i}",
                "address": address(10 + i),
                "gpu_uuid": gpu_uuid(lab, i),
                "nics": [
                    {"netdev": netdev, "cage": cage, "mac": mac_address(lab, i, nic)}
                    for nic, ((cage, _half), netdev) in enumerate(NETDEVS.items(), 1)
                ],
            }
            for i in range(1, count + 1)
        ],
        "cables": [{"name": f"cable{n}", "ends": list(ends)} for n, ends in enumerate(wires, 1)],
    }
