# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host knows of its swarm: the engine's word, its certificate, its addresses, and the note of how it entered.

This module util is private to the collection.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm import (
    Membership,
    SwarmError,
    membership,
    settled,
    usable_address,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.notes import ROOT, read_note

#: how this collection entered the swarm, to leave exactly that one on undo
RECORD = str(Path(ROOT, "swarm.json"))
ROUTES = "/proc/net/route"
DOCKER_ROOT, CERTIFICATE = "/var/lib/docker", ("swarm", "certificates", "swarm-node.crt")


def recorded(path: str = RECORD) -> dict[str, Any]:
    """Return the note of how this host entered its swarm, empty where this collection did not have it enter."""
    return read_note(path, {})


def settled_info(docker: Docker, seconds: float = 30) -> dict[str, Any]:
    """Return the engine's information once it knows its place; just started, it looks for its managers first."""
    deadline = time.monotonic() + seconds
    while not settled(info := docker.info()) and time.monotonic() < deadline:
        time.sleep(1)
    return info


def membership_of(info: dict[str, Any], note: dict[str, Any]) -> Membership:
    """Return an engine's place in a swarm.

    :param info: as :func:`settled_info` returns it. :param note: as :func:`recorded` returns it.
    :raises SwarmError: for a state that nothing can be planned on.
    """
    root = info.get("DockerRootDir")
    certificate = Path(root if isinstance(root, str) and root else DOCKER_ROOT, *CERTIFICATE)
    try:
        pem = certificate.read_text(encoding="ascii", errors="replace")
    except (OSError, ValueError):
        pem = ""
    swarm = info.get("Swarm")
    state = (swarm.get("LocalNodeState") if isinstance(swarm, dict) else None) or "inactive"
    if note.get("entering") and state not in ("inactive", "active"):
        return Membership()  # an interrupted run had just begun to enter it
    return membership(info, pem)


def own_address(text: str, *, later: bool) -> str:
    """Return the IPv4 address that a name means on this host.

    :param later: whether it may be an address that the host does not have yet.
    :raises SwarmError: where it means nothing, is of no use to other members, or is not this host's.
    """
    try:
        found = socket.getaddrinfo(text, None, socket.AF_INET, socket.SOCK_DGRAM)[0][4][0]
    except (OSError, ValueError) as error:  # also a name that cannot be one
        raise SwarmError(
            f"advertise address {text!r} does not resolve ({error}): give an IPv4 address (swarm_gpu_advertise_address)"
        ) from None
    address = usable_address(text, str(found))
    if not later and not has_address(address):
        raise SwarmError(
            f"advertise address {address} is not an address of this host: give one that is, and that the other "
            "members reach, as swarm_gpu_advertise_address"
        )
    return address


def has_address(address: str) -> bool:
    """Whether this host has the address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def resolves(hostname: str) -> bool:
    """Whether the host finds an address for its own name."""
    try:
        socket.getaddrinfo(hostname, None)
    except (OSError, ValueError):
        return False
    return True
