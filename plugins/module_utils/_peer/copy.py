# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is private to the collection: it may change at any time.
"""One Spark reads one directory of another, over ssh, with a key made for it and a command that can do nothing else."""

from __future__ import annotations

import ipaddress
import re
import shlex
import socket
import time
import typing as t
from pathlib import Path

# AES in hardware carries twice what ssh's default does; where a site forbids it, the rest are still safe.
CIPHERS = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com"
ALIAS = "dgx-spark-leader"  # what the leader's host keys are known by, whatever its address

_KEY = re.compile(r"(ssh-ed25519|ecdsa-sha2-nistp\d+|ssh-rsa|sk-[\w.@-]+) [A-Za-z0-9+/]+={0,2}", re.ASCII)
_USER = re.compile(r"[A-Za-z_][\w.-]*\$?", re.ASCII)


class CopyError(ValueError):
    """No copy can be made like this; the message says why, and the mend."""


def check_key(key: str) -> str:
    """Return a public key without its comment."""
    match = _KEY.match(key.strip())
    if not match or "\n" in key.strip():
        raise CopyError(f"{key[:80]!r} is no public key")
    return match.group(0)


def check_address(address: str) -> str:
    """Return an IP address."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError as exc:
        raise CopyError(f"{address!r} is no IP address") from exc


def marker(name: str) -> str:
    """Return the comment by which our keys are known."""
    return f"sparkops.dgx_spark.hf_cache:{name}"


def door_line(key: str, address: str, sender: Path, directory: Path, name: str, until: float) -> str:
    """Return the line of authorized_keys that lets one key read one directory, from one address, until a time."""
    command = shlex.join(["/usr/bin/python3", "-I", str(sender), str(directory)])
    command = command.replace("\\", "\\\\").replace('"', '\\"')
    # The time is the leader's own; it closes what an interrupted run leaves open.
    expiry = time.strftime("%Y%m%d%H%M%S", time.localtime(until))
    options = f'restrict,expiry-time="{expiry}",from="{check_address(address)}",command="{command}"'
    return f"{options} {check_key(key)} {marker(name)}\n"


def with_doors(text: str, lines: t.Sequence[str], name: str) -> str:
    """Return authorized_keys with these lines, and no others of ours.

    They stand first, so that what was there comes back byte for byte when they go.
    """
    kept = [line for line in text.splitlines(keepends=True) if not line.rstrip().endswith(" " + marker(name))]
    return "".join(lines) + "".join(kept)


def source_address(peer: str, port: int) -> str:
    """Return the address from which a peer is reached."""
    try:
        family, _kind, _protocol, _name, address = socket.getaddrinfo(peer, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)  # sends nothing
            return str(probe.getsockname()[0])
    except OSError as exc:
        raise CopyError(f"there is no way to {peer} ({exc.strerror or exc}): see the fabric's addresses") from exc


def known_hosts(keys: t.Iterable[str]) -> str:
    """Return the known_hosts that pins a leader's host keys."""
    return "".join(f"{ALIAS} {check_key(key)}\n" for key in keys)


def ssh_argv(identity: Path, hosts: Path, user: str, address: str, port: int) -> list[str]:
    """Return the connecting command. Nothing of the user's own ssh settings, keys or agents has a part in it."""
    if not _USER.fullmatch(user):
        raise CopyError(f"{user!r} is no user's name")
    options = {
        "BatchMode": "yes",
        "Ciphers": CIPHERS,
        "Compression": "no",
        "ConnectTimeout": "20",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": ALIAS,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "LogLevel": "ERROR",
        "PreferredAuthentications": "publickey",
        "ServerAliveCountMax": "4",
        "ServerAliveInterval": "15",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(hosts).replace("%", "%%"),
    }
    words = ["ssh", "-F", "none", "-T", "-i", str(identity).replace("%", "%%"), "-p", str(port), "-l", user]
    words += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return [*words, "--", address]


def final(reason: str, address: str) -> str:
    """Return what is to be done about a reason that another attempt would meet again, or nothing."""
    if "Host key verification failed" in reason or "REMOTE HOST IDENTIFICATION" in reason:
        return f"{address} is not the leader: its ssh host keys are not those read on the leader"
    if "Permission denied" in reason:
        return (
            f"{address} does not let the run's key in ({reason}): its sshd must let this user in, and read "
            "~/.ssh/authorized_keys"
        )
    return ""


def received(root: Path = Path("/sys/class/net")) -> dict[str, int]:
    """Return the bytes that every network interface has received."""
    return {path.parts[-3]: int(path.read_text()) for path in sorted(root.glob("*/statistics/rx_bytes"))}


def link_speed(netdev: str, root: Path = Path("/sys/class/net")) -> float | None:
    """Return what an interface carries, in bytes a second, if it tells."""
    try:
        speed = int((root / netdev / "speed").read_text())
    except (OSError, ValueError):
        return None
    return speed * 1e6 / 8 if speed > 0 else None


def processor_time(stat: Path = Path("/proc/stat")) -> tuple[float, float]:
    """Return the processors' busy time and all their time, in ticks."""
    ticks = [int(word) for word in stat.read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


FILES_OPTION = {
    "type": "list",
    "elements": "dict",
    "required": True,
    "options": {
        "path": {"type": "str", "required": True},
        "size": {"type": "int", "required": True},
        "sha256": {"type": "str", "required": True},
    },
}
