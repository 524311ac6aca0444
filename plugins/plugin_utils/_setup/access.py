# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of ssh that a person's computer needs for the Sparks, with tunnels to what listens on loopback.

This plugin util is private to the collection. Pure functions, and one that looks at the file.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.ssh_config import quoted

LOOPBACK = str(ipaddress.IPv4Address("127.0.0.1"))
ANY = str(ipaddress.IPv4Address(0))
FIRST_LINE = "# DGX Sparks: have ~/.ssh/config begin with 'Include' and the path of this file."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class AccessError(ValueError):
    """The configuration cannot be written; the message names the value and the mend."""


@dataclass(frozen=True)
class Host:
    """A Spark as ssh reaches it. Empty or 0 is not said."""

    name: str
    address: str
    user: str = ""
    port: int = 0
    jump: str = ""  # what ProxyJump takes


@dataclass(frozen=True)
class Tunnel:
    """What a port of this computer leads to on the leader."""

    what: str
    port: int  # of the leader
    local: int = 0  # of this computer; 0 for the same
    address: str = LOOPBACK  # on the leader


def api_tunnels(instances: Iterable[Mapping[str, Any]]) -> list[Tunnel]:
    """The tunnels to the APIs that are configured on the leader.

    :param instances: as engine_status_info has them. What has no address yet is left out.

    >>> api_tunnels([{"name": "dgx-spark-trtllm", "cluster": {"api_listen": "127.0.0.1:8355"}}])[0].port
    8355
    """
    found = []
    for one in instances:
        listens = str((one.get("cluster") or {}).get("api_listen") or "")
        address, _colon, port = listens.rpartition(":")
        if port.isdigit():
            own = LOOPBACK if address in ("", ANY) else address.strip("[]")
            found.append(Tunnel(f"API of {one.get('name') or 'the engine'}", int(port), address=own))
    return found


def placed(tunnels: Iterable[Tunnel]) -> list[Tunnel]:
    """The tunnels with a port of this computer each: its own, or the next that no other tunnel has.

    :raises AccessError: for what is no port.

    >>> [one.local for one in placed([Tunnel("a", 80), Tunnel("b", 80, address="192.0.2.1")])]
    [1080, 1081]
    """
    found: dict[tuple[str, int], Tunnel] = {}
    for one in tunnels:
        if not (0 < one.port < 65536 and 0 <= one.local < 65536):
            raise AccessError(f"the tunnel {one.what!r} has the port {one.local or one.port}: give one from 1 to 65535")
        if (one.address, one.port) in found:
            continue
        taken = {other.local for other in found.values()}
        local = one.local or (one.port if one.port > 1023 else one.port + 1000)  # the first 1023 are for root
        while local in taken:
            local += 1
        found[one.address, one.port] = Tunnel(one.what, one.port, local, one.address)
    return list(found.values())


def text(hosts: Sequence[Host], tunnels: Sequence[Tunnel], key: str = "") -> str:
    """The whole file. :param hosts: the leader first. :raises AccessError: for a name that ssh would read otherwise."""
    for host in hosts:
        if not _NAME.fullmatch(host.name):
            raise AccessError(f"{host.name!r} is no name that ssh takes for one: use letters, digits, '.', '_' and '-'")
    leader = hosts[0]
    lines = [FIRST_LINE]
    for host in hosts:
        lines += ["", f"Host {host.name}", *_about(host, key)]
    if tunnels:
        lines += ["", f"# ssh -N {leader.name}-tunnels", f"Host {leader.name}-tunnels", *_about(leader, key)]
        lines.append("  ExitOnForwardFailure yes")
        for one in tunnels:
            lines.append(f"  # {one.what}")
            lines.append(f"  LocalForward {LOOPBACK}:{one.local} {_joined(one.address, one.port)}")
    return "\n".join(lines) + "\n"


def refuse_foreign(path: str) -> None:
    """Refuse to write over a file that was not written here. :param path: empty for none. :raises AccessError:"""
    try:
        there = Path(path).read_text(encoding="utf-8", errors="replace") if path else ""
    except FileNotFoundError:
        return
    except OSError as error:
        raise AccessError(f"{path} cannot be written ({error.strerror}): give another access_file") from None
    if there and not there.startswith(FIRST_LINE):
        raise AccessError(f"{path} is not of this playbook, and was left alone: give another access_file")


def _about(host: Host, key: str) -> list[str]:
    said = {
        "HostName": host.address,
        "User": host.user,
        "Port": host.port if host.port not in (0, 22) else "",
        "ProxyJump": host.jump,
        "IdentityFile": quoted(key) if key else "",
        "ServerAliveInterval": 30,
        "ServerAliveCountMax": 4,
    }
    return [f"  {name} {value}" for name, value in said.items() if value]


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def commands(tunnels: Sequence[Tunnel]) -> list[str]:
    """Where what a tunnel leads to is on this computer, in words."""
    return [f"http://{LOOPBACK}:{one.local} ({one.what})" for one in tunnels]
