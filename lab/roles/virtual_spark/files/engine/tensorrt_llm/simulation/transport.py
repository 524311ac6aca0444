# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which network a rank would use, by NCCL's rules, from what its container really has; and NCCL's lines for it."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping

# What a rank must be able to pin, for NCCL's buffers of one connection. The real need is more, but a machine that
# may not raise limits gives a virtual Spark's containers no more than this.
LEAST_MEMLOCK = 8 << 20
_SIOCGIFADDR, _SIOCGIFNETMASK = 0x8915, 0x891B


class NcclError(RuntimeError):
    """What NCCL would end a rank with."""


@dataclass(frozen=True)
class Hca:
    """A port of an RDMA device as sysfs shows it."""

    name: str
    port: int
    active: bool
    usable: bool  # its device node is there and may be opened
    address: str = ""  # of its netdev, with the prefix length


@dataclass(frozen=True)
class Machine:
    """What a container has."""

    hcas: tuple[Hca, ...] = ()
    memlock: int = resource.RLIM_INFINITY  # the soft limit
    interfaces: Mapping[str, str] = field(default_factory=dict)  # those that are up, with their IPv4 address


@dataclass(frozen=True)
class Transport:
    """The network of one rank."""

    kind: str  # IB or Socket
    devices: tuple[str, ...]
    lines: tuple[str, ...]
    addresses: tuple[str, ...] = ()  # of the RoCE devices, with their prefix lengths; empty for one that has none


def _matches(name: str, port: int | None, words: str) -> bool:
    """NCCL's lists: ``^`` excludes, ``=`` wants the whole name instead of its beginning; a port may follow."""
    exclude = words.startswith("^")
    words = words[1:] if exclude else words
    exact = words.startswith("=")
    words = words[1:] if exact else words
    found = False
    for word in filter(None, words.split(",")):
        wanted, _colon, number = word.partition(":") if port is not None else (word, "", "")
        same = name == wanted if exact else name.startswith(wanted)
        found = found or (same and (not number or number == str(port)))
    return found != exclude


def _out_of_band(env: Mapping[str, str], interfaces: Mapping[str, str]) -> str:
    wanted = env.get("NCCL_SOCKET_IFNAME", "")
    if wanted:
        names = [name for name in interfaces if _matches(name, None, wanted)]
        if not names:
            raise NcclError(
                f"ncclInvalidUsage: Bootstrap : no socket interface found (NCCL_SOCKET_IFNAME set to {wanted})"
            )
        return names[0]
    ordinary = [name for name in interfaces if not name.startswith(("docker", "lo", "veth", "br-"))]
    names = [*ordinary, *(name for name in interfaces if name.startswith("docker")), *interfaces]
    if not names:
        raise NcclError("ncclSystemError: Bootstrap : no socket interface found")
    return names[0]


def decide(env: Mapping[str, str], machine: Machine) -> Transport:
    """Choose as NCCL does: RDMA where there is any, else sockets; what RDMA then cannot have ends the rank."""
    oob = _out_of_band(env, machine.interfaces)
    address = f"{oob}:{machine.interfaces[oob]}<0>"
    lines = [
        f"{name} set by environment to {env[name]}"
        for name in ("NCCL_SOCKET_IFNAME", "NCCL_IB_DISABLE", "NCCL_IB_HCA", "NCCL_NET")
        if env.get(name)
    ]
    lines.append(f"Bootstrap: Using {address}")
    devices: list[Hca] = []
    if env.get("NCCL_IB_DISABLE", "0") in ("", "0"):
        wanted = env.get("NCCL_IB_HCA", "")
        devices = [one for one in machine.hcas if one.active and one.usable]
        devices = [one for one in devices if not wanted or _matches(one.name, one.port, wanted)]
        if not devices:
            lines.append("NET/IB : No device found.")
    if not devices:
        if env.get("NCCL_NET") == "IB":
            raise NcclError("ncclInvalidUsage: Failed to initialize any NET plugin (NCCL_NET set to IB)")
        names = [f"[0]{address}"]
        lines += [f"NET/Socket : Using {names[0]}", "Using network Socket"]
        return Transport("Socket", (oob,), tuple(lines))
    if machine.memlock != resource.RLIM_INFINITY and machine.memlock < LEAST_MEMLOCK:
        raise NcclError(
            "ncclSystemError: Call to ibv_reg_mr_iova2 failed with error Cannot allocate memory "
            f"(the limit of locked memory is {machine.memlock} bytes)"
        )
    ports = tuple(f"{one.name}:{one.port}" for one in devices)
    using = " ".join(f"[{index}]{port}/RoCE" for index, port in enumerate(ports))
    lines += [f"NET/IB : Using {using} [RO]; OOB {address}", "Using network IB"]
    return Transport("IB", ports, tuple(lines), tuple(one.address for one in devices))


def with_files(env: Mapping[str, str], files: tuple[Path, ...]) -> dict[str, str]:
    """NCCL's own configuration files: they say what the environment leaves open, the first of them first."""
    values: dict[str, str] = {}
    for path in files:
        for line in path.read_text().splitlines() if path.is_file() else []:
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith("#"):
                values.setdefault(name, value)
    return {**values, **env}


def _may_open(path: Path) -> bool:
    """A simulated device node has no driver behind it (ENXIO); one that the container was not given says EPERM."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in (errno.ENXIO, errno.ENODEV)
    return True


def _is_this(node: Path, numbers: Path) -> bool:
    """As libibverbs asks: whether a device node has the numbers that sysfs tells; an old one has others."""
    if not numbers.is_file():
        return True
    number = node.stat().st_rdev
    return f"{os.major(number)}:{os.minor(number)}" == numbers.read_text().strip()


def _hcas(sys: Path, dev: Path, addresses: Mapping[str, str]) -> tuple[Hca, ...]:
    verbs = {}
    for path in sys.glob("class/infiniband_verbs/uverbs*/ibdev"):
        verbs[path.read_text().strip()] = path.parent.name
    nodes = {
        path.name
        for path in dev.glob("infiniband/uverbs*")
        if _may_open(path) and _is_this(path, sys / "class/infiniband_verbs" / path.name / "dev")
    }
    found = []
    for port in sorted(sys.glob("class/infiniband/*/ports/*")):
        name = port.parts[-3]
        active = "ACTIVE" in (port / "state").read_text() if (port / "state").is_file() else False
        usable = verbs[name] in nodes if name in verbs else bool(nodes)
        netdev = port / "gid_attrs" / "ndevs" / "0"
        address = addresses.get(netdev.read_text().strip(), "") if netdev.is_file() else ""
        found.append(Hca(name, int(port.name), active, usable, address))
    return tuple(found)


def _interfaces() -> dict[str, str]:
    """The first IPv4 address of each interface, with its prefix length."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _index, name in socket.if_nameindex():
            asks = struct.pack("256s", name.encode())
            try:
                address, mask = (fcntl.ioctl(probe, what, asks)[20:24] for what in (_SIOCGIFADDR, _SIOCGIFNETMASK))
            except OSError:
                continue  # no address
            found[name] = f"{socket.inet_ntoa(address)}/{bin(int.from_bytes(mask, 'big')).count('1')}"
    return found


def look(sys: Path = Path("/sys"), dev: Path = Path("/dev")) -> Machine:
    """This container."""
    interfaces = _interfaces()
    addresses = {name: address.partition("/")[0] for name, address in interfaces.items()}
    return Machine(_hcas(sys, dev, interfaces), resource.getrlimit(resource.RLIMIT_MEMLOCK)[0], addresses)
