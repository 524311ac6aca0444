# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is private to the collection: it may change at any time.
"""Docker Swarm: which swarm an engine is in, whether that is the one it should be in, and what its nodes offer."""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Sequence

PORT = 2377
PORTS = "TCP 2377, TCP and UDP 7946, UDP 4789"
_ORGANISATION = b"\x06\x03\x55\x04\x0a"  # the object identifier 2.5.4.10 in DER
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")


class SwarmError(ValueError):
    """A swarm that is not as it should be."""


@dataclass(frozen=True)
class Membership:
    """An engine's place in a swarm; ``cluster_id`` is None where it is in none, or does not know."""

    active: bool = False
    manager: bool = False
    cluster_id: str | None = None
    node_id: str | None = None
    address: str | None = None
    managers: tuple[str, ...] = ()

    def in_words(self) -> str:
        """Name the swarm."""
        via = f" (managers: {', '.join(self.managers)})" if self.managers else ""
        return f"swarm {self.cluster_id or 'of unknown ID'}{via}"


def cluster_of_certificate(pem: str) -> str | None:
    """Return the ID of the cluster that issued a node's certificate (its subject's organisation), None without one.

    Docker tells managers alone which cluster they are in; a worker's certificate tells it too.
    """
    match = _PEM.search(pem)
    if match is None:
        return None
    der = base64.b64decode(match[1])
    place = der.rfind(_ORGANISATION)  # the issuer, which comes first, has none of its own
    if place < 0:
        return None
    start = place + len(_ORGANISATION) + 2  # after the tag and the length of the string
    return der[start : start + der[start - 1]].decode("ascii", "replace")


def membership(info: dict[str, Any], certificate: str = "") -> Membership:
    """Return an engine's place in a swarm from its ``/info`` and its node certificate."""
    swarm = info.get("Swarm") or {}
    state = swarm.get("LocalNodeState") or "inactive"
    if state == "inactive":
        return Membership()
    if state != "active":
        reason = f": {swarm['Error']}" if swarm.get("Error") else ""
        raise SwarmError(
            f"Docker is in a swarm, in state {state!r}{reason}. See 'journalctl -u docker'; if the swarm is of no more "
            "use, leave it (docker swarm leave --force)"
        )
    manager = bool(swarm.get("ControlAvailable"))
    return Membership(
        active=True,
        manager=manager,
        cluster_id=(swarm.get("Cluster") or {}).get("ID") or cluster_of_certificate(certificate),
        node_id=swarm.get("NodeID"),
        address=swarm.get("NodeAddr"),
        managers=tuple(sorted(one["Addr"] for one in swarm.get("RemoteManagers") or [])),
    )


def settled(info: dict[str, Any]) -> bool:
    """Whether the engine knows its place; just started, it looks for its managers first."""
    swarm = info.get("Swarm") or {}
    if swarm.get("LocalNodeState") == "pending":
        return False
    return not (swarm.get("ControlAvailable") and not (swarm.get("Cluster") or {}).get("ID"))


def usable_address(text: str, resolved: str) -> str:
    """Return the address to advertise, or refuse one that the other members could not use."""
    try:
        address = ipaddress.IPv4Address(resolved)
    except ValueError:
        raise SwarmError(f"advertise address {text!r} is no IPv4 address: give one that the others reach") from None
    wrong = (
        "a loopback address"
        if address.is_loopback
        else "link-local, which can change"
        if address.is_link_local
        else "no host's address"
        if address.is_unspecified or address.is_multicast
        else ""
    )
    if wrong:
        shown = text if text == resolved else f"{text} = {resolved}"
        raise SwarmError(
            f"advertise address {shown} is {wrong}: give one that the other members reach, and that "
            "stays (of the role: swarm_gpu_advertise_address)"
        )
    return str(address)


def must_initialise(here: Membership, address: str) -> bool:
    """Whether the leader has yet to make a swarm; refuses a place in one that does not fit."""
    if not here.active:
        return True
    if not here.manager:
        raise SwarmError(
            f"it is to lead, but it is a worker of {here.in_words()}. Nothing was changed. Make the host of that "
            "manager the first member, or leave that swarm (docker swarm leave)"
        )
    _same_address(here, address)
    return False


def must_join(here: Membership, cluster_id: str | None, address: str, leader: str) -> bool:
    """Whether a worker has yet to join the leader's swarm; refuses a place in another."""
    if not here.active:
        return True
    if cluster_id is None or here.cluster_id != cluster_id:
        wanted = f"swarm {cluster_id}" if cluster_id else "no swarm yet"
        raise SwarmError(
            f"it is in another swarm than its leader: it is in {here.in_words()}, and the leader at {leader} is in "
            f"{wanted}. Nothing was changed. Leave the other swarm on it first (docker swarm leave, --force on a "
            "manager), or let the first member be the manager of that swarm"
        )
    _same_address(here, address)
    return False


def _same_address(here: Membership, address: str) -> None:
    if here.address != address:
        raise SwarmError(
            f"it is in {here.in_words()} with the address {here.address}, but {address} was asked for, and that cannot "
            f"be changed in place. Advertise {here.address} (of the role: swarm_gpu_advertise_address), or leave the "
            "swarm and run this again"
        )


def explain_join(said: str, leader: str) -> str:
    """Say in words why joining failed."""
    if re.search(r"connection refused|DeadlineExceeded|deadline exceeded|no route to host|Timeout was reached", said):
        return f"the leader cannot be reached at {leader}: let {PORTS} through between all members. Docker said: {said}"
    if re.search(r"x509|certificate", said):
        return f"the certificates do not fit: set the clocks of all members right. Docker said: {said}"
    return f"joining the swarm of {leader} failed: {said}"


def rank_labels(rank: int) -> dict[str, str]:
    """Return the labels that place a rank's container."""
    return {"dgx_spark.rank": str(rank), "dgx_spark.role": "worker" if rank else "leader"}


def with_labels(present: dict[str, str] | None, wanted: dict[str, str], *, there: bool = True) -> dict[str, str]:
    """Return a node's labels with ours, or without them; those of others stay."""
    foreign = {key: value for key, value in (present or {}).items() if key not in wanted}
    return {**foreign, **wanted} if there else foreign


def shortcomings(node: dict[str, Any], kind: str, values: Sequence[str]) -> list[str]:
    """Return what keeps a node (``/nodes/<id>``) from being ready with exactly these resources."""
    found = []
    state, message = node["Status"].get("State"), node["Status"].get("Message")
    if state != "ready":
        found.append(f"is {state}" + (f" ({message})" if message else ""))
    if node["Spec"].get("Availability") != "active":
        found.append(
            f"has availability {node['Spec'].get('Availability')!r} (docker node update --availability active)"
        )
    resources = ((node.get("Description") or {}).get("Resources") or {}).get("GenericResources") or []
    named = [one["NamedResourceSpec"] for one in resources if "NamedResourceSpec" in one]
    offered = sorted(one["Value"] for one in named if one["Kind"] == kind)
    if offered != sorted(values):
        found.append(
            f"offers {kind} {', '.join(offered) or '(none)'} instead of {', '.join(sorted(values)) or '(none)'} "
            "(restart Docker there)"
        )
    return found
