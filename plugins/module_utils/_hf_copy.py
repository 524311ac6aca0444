# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is private to the collection: it may change at any time.
"""One Spark reads a model's directory of another's cache: rsync over ssh, with a key made for it."""

from __future__ import annotations

import ipaddress
import os
import re
import shlex
import socket
import time
import typing as t
from pathlib import Path

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf_cache import PARTIAL_DIR

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


def marker(repo: str) -> str:
    """Return the comment by which our keys are known."""
    return f"sparkops.dgx_spark.hf_cache:{repo}"


def door_line(key: str, address: str, rrsync: str, directory: str, repo: str, until: float) -> str:
    """Return the line of authorized_keys that lets one key read one directory, from one address, until a time."""
    command = f"{shlex.quote(rrsync)} -ro {shlex.quote(directory)}"
    command = command.replace("\\", "\\\\").replace('"', '\\"')
    # The time is the leader's own; it closes what an interrupted run leaves open.
    expiry = time.strftime("%Y%m%d%H%M%S", time.localtime(until))
    options = f'restrict,expiry-time="{expiry}",from="{check_address(address)}",command="{command}"'
    return f"{options} {check_key(key)} {marker(repo)}\n"


def with_doors(text: str, lines: t.Sequence[str], repo: str) -> str:
    """Return authorized_keys with these lines, and no others of ours.

    They stand first, so that what was there comes back byte for byte when they go.
    """
    kept = [line for line in text.splitlines(keepends=True) if not line.rstrip().endswith(" " + marker(repo))]
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


def ssh_command(identity: Path, hosts: Path, port: int) -> str:
    """Return the remote shell for rsync. Nothing of the user's own ssh settings, keys or agents has a part in it."""
    options = {
        "BatchMode": "yes",
        "Ciphers": CIPHERS,
        "Compression": "no",
        "ConnectTimeout": "20",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": ALIAS,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "ServerAliveCountMax": "4",
        "ServerAliveInterval": "15",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(hosts).replace("%", "%%"),
    }
    words = ["ssh", "-F", "none", "-i", str(identity).replace("%", "%%"), "-p", str(port)]
    words += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return " ".join(shlex.quote(word) for word in words)


def rsync_argv(program: str, shell: str, user: str, address: str, repo_dir: str | os.PathLike[str]) -> list[str]:
    """Return the command that copies the blobs named on its standard input into a repository's directory."""
    if not _USER.fullmatch(user):
        raise CopyError(f"{user!r} is no user's name")
    host = f"[{address}]" if ":" in address else address
    return [
        program,
        "--times",
        # A name appears when its file is whole; what an interruption leaves is taken up again.
        f"--partial-dir={PARTIAL_DIR}",
        "--timeout=120",
        "--files-from=-",
        f"--rsh={shell}",
        f"{user}@{host}:.",
        f"{repo_dir}/",
    ]


def failure(rc: int, output: str, address: str) -> tuple[str, bool]:
    """Return why rsync failed, and whether it would fail again."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = next((line for line in lines if not line.startswith("rsync error")), "no message")[:300]
    if "No space left on device" in output:
        return f"the disk is full ({said})", True
    if "Host key verification failed" in output or "REMOTE HOST IDENTIFICATION" in output:
        return f"{address} is not the leader: its ssh host keys are not those read on the leader", True
    if "Permission denied" in output and rc == 255:
        return (
            f"{address} does not let the run's key in ({said}): its sshd must let this user in, and read "
            "~/.ssh/authorized_keys"
        ), True
    return f"rsync from {address} ended with {rc} ({said})", rc not in (10, 12, 20, 23, 24, 30, 35, 255)
