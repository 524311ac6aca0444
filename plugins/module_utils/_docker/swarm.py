# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker Swarm: which swarm an engine is in, whether that is the one it should be in, and what its nodes offer.

This module util is private to the collection.
"""

from __future__ import annotations

import base64
import calendar
import ipaddress
import re
import time
from dataclasses import dataclass
from typing import Any, Callable, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import COMPARE_VERSIONS
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import reads
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.routes import Route

PORT = 2377
PORTS = "TCP 2377, TCP and UDP 7946, UDP 4789"
CLOCKS_APART = 60  # seconds; asking them in turn takes some itself
DOCKERS_POOL = "10.0.0.0/8"
OTHER_POOLS = (*(f"10.{n}.0.0/16" for n in range(255, 239, -1)), *(f"172.{n}.0.0/16" for n in range(31, 27, -1)))
_DOCKERS_INTERFACE = re.compile(r"docker|br-|veth")
_ORGANISATION = b"\x06\x03\x55\x04\x0a"  # the object identifier 2.5.4.10 in DER
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")


class SwarmError(ValueError):
    """A swarm that is not as it should be."""


_reads_answers = reads(SwarmError, "Docker Engine's answer about the swarm", COMPARE_VERSIONS)


@dataclass(frozen=True)
class Membership:
    """An engine's place in a swarm; ``cluster_id`` is None where it is in none, or does not know."""

    active: bool = False  # in a swarm, be its manager in sight or not
    manager: bool = False
    cluster_id: str | None = None
    node_id: str | None = None
    address: str | None = None
    managers: tuple[str, ...] = ()
    pending: bool = False  # it looks for its manager, and has not found it

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
    try:
        der = base64.b64decode(match[1])
    except ValueError:
        return None
    place = der.rfind(_ORGANISATION)  # the issuer, which comes first, has none of its own
    if place < 0:
        return None
    start = place + len(_ORGANISATION) + 2  # after the tag and the length of the string
    if start > len(der):
        return None
    return der[start : start + der[start - 1]].decode("ascii", "replace")


@_reads_answers
def membership(info: dict[str, Any], certificate: str = "") -> Membership:
    """Return an engine's place in a swarm from its ``/info`` and its node certificate."""
    swarm = info.get("Swarm") or {}
    state = swarm.get("LocalNodeState") or "inactive"
    if state == "inactive":
        return Membership()
    if state not in ("active", "pending"):
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
        pending=state == "pending",
    )


@_reads_answers
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
            "stays (swarm_gpu_advertise_address)"
        )
    return str(address)


def leader_step(here: Membership, address: str, *, allow_rejoin: bool = False) -> str:
    """Return what the leader has to do: ``enter`` (make a swarm), ``stay``, or ``rejoin``: leave, and then enter."""
    if not here.active:
        return "enter"
    try:
        if not here.manager:
            raise SwarmError(
                f"it is to lead, but it is a worker of {here.in_words()}. Nothing was changed. Make the host of that "
                "manager the first member, or leave that swarm (docker swarm leave)"
            )
        _same_address(here, address)
        _not_pending(here)
    except SwarmError as exc:
        return _rejoin(exc, allow_rejoin)
    return "stay"


def worker_step(
    here: Membership, cluster_id: str | None, address: str, leader: str, *, allow_rejoin: bool = False
) -> str:
    """Return what a worker has to do: ``enter``, ``stay`` or ``rejoin``."""
    if not here.active:
        return "enter"
    other = cluster_id is None or here.cluster_id != cluster_id
    if other and not here.manager and {one.rpartition(":")[0] for one in here.managers} == {leader}:
        return "rejoin"  # its only manager was this leader, which has forgotten that swarm: nothing is left of it
    try:
        if other:
            wanted = f"swarm {cluster_id}" if cluster_id else "no swarm yet"
            raise SwarmError(
                f"it is in another swarm than its leader: it is in {here.in_words()}, and the leader at {leader} is in "
                f"{wanted}. Nothing was changed. Leave the other swarm on it first (docker swarm leave, --force on a "
                "manager), or let the first member be the manager of that swarm"
            )
        _same_address(here, address)
        _not_pending(here)
    except SwarmError as exc:
        return _rejoin(exc, allow_rejoin)
    return "stay"


def _rejoin(problem: SwarmError, allowed: bool) -> str:
    if allowed:
        return "rejoin"
    raise SwarmError(f"{problem}; or allow it to leave that swarm (swarm_gpu_allow_rejoin: true)")


def _same_address(here: Membership, address: str) -> None:
    if here.address != address:
        raise SwarmError(
            f"it is in {here.in_words()} with the address {here.address}, but {address} was asked for, and that cannot "
            f"be changed in place. Advertise {here.address} (swarm_gpu_advertise_address)"
        )


def _not_pending(here: Membership) -> None:
    if here.pending:
        raise SwarmError(
            f"it is in {here.in_words()} and does not find its manager. Check that it runs, that {PORTS} are let "
            "through, and 'journalctl -u docker'"
        )


def clock_problem(here: float, leader: float) -> str | None:
    """Say that a clock is wrong; None where the certificates of a swarm can live with it."""
    apart = here - leader
    if abs(apart) <= CLOCKS_APART:
        return None
    return (
        f"its clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} its leader's, and a swarm's "
        "certificates are good for a certain time. Nothing was changed. Synchronise both (timedatectl set-ntp true)"
    )


def free_pool(networks: Sequence[str]) -> str | None:
    """Return a pool for a swarm's own networks that meets none of these; None for Docker's own choice."""
    taken = [_network(network) for network in networks]
    for pool in (DOCKERS_POOL, *OTHER_POOLS):
        if not any(ipaddress.IPv4Network(pool).overlaps(network) for network in taken):
            return None if pool == DOCKERS_POOL else pool
    raise SwarmError(
        f"the networks of the members leave none of {', '.join((DOCKERS_POOL, *OTHER_POOLS))} free for the swarm's "
        "own: name a pool (swarm_gpu_address_pool)"
    )


def _network(text: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise SwarmError(
            f"{text!r} is no IPv4 network ({error}): give one such as 10.250.0.0/16 (swarm_gpu_address_pool)"
        ) from None


def collisions(subnets: Sequence[str], routes: Sequence[Route]) -> list[str]:
    """Say which of a swarm's networks meet networks of this host that are not Docker's."""
    return [
        f"{subnet} of the swarm and {network} on {interface}"
        for subnet in subnets
        for network, interface in routes
        if not _DOCKERS_INTERFACE.match(interface) and _network(subnet).overlaps(network)
    ]


@_reads_answers
def overlays(networks: Sequence[dict[str, Any]]) -> list[str]:
    """Return the IPv4 subnets of a swarm's own networks, of ``/networks`` on a manager."""
    configs = [
        config
        for network in networks
        if network.get("Scope") == "swarm" and network.get("Driver") == "overlay"
        for config in (network.get("IPAM") or {}).get("Config") or []
    ]
    return sorted(config["Subnet"] for config in configs if "." in config.get("Subnet", ""))


def explain_join(said: str, leader: str) -> str:
    """Say in words why joining failed."""
    if re.search(r"connection refused|DeadlineExceeded|deadline exceeded|no route to host|Timeout was reached", said):
        return f"the leader cannot be reached at {leader}: let {PORTS} through between all members. Docker said: {said}"
    if "invalid join token" in said:
        return f"the leader at {leader} does not know the token, which was perhaps rotated since it was read: {said}"
    if re.search(r"x509|certificate", said):
        return f"the certificates do not fit: synchronise the clocks of all members. Docker said: {said}"
    return f"joining the swarm of {leader} failed: {said}"


def rank_labels(rank: int) -> dict[str, str]:
    """Return the labels that place a rank's container."""
    return {"dgx_spark.rank": str(rank), "dgx_spark.role": "worker" if rank else "leader"}


def with_labels(present: dict[str, str] | None, wanted: dict[str, str], *, there: bool = True) -> dict[str, str]:
    """Return a node's labels with ours, or without them; those of others stay."""
    foreign = {key: value for key, value in (present or {}).items() if key not in wanted}
    return {**foreign, **wanted} if there else foreign


@_reads_answers
def address_of(node: dict[str, Any]) -> str | None:
    """Return the address at which the others reach a node; that of a manager's status can be 0.0.0.0."""
    manager = (node.get("ManagerStatus") or {}).get("Addr", "").rpartition(":")[0]
    return manager or node["Status"].get("Addr")


@_reads_answers
def is_ours(node: dict[str, Any]) -> bool:
    """Whether a node carries our labels."""
    return "dgx_spark.rank" in (node["Spec"].get("Labels") or {})


@_reads_answers
def leftovers(
    nodes: Sequence[dict[str, Any]], ours: Sequence[str], hostnames: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return the nodes that are members no more: nodes with our labels, and former nodes of our hosts.

    :param ours: IDs of the members' nodes. :param hostnames: names of the members' hosts, besides those of their nodes.
    """
    # A node that has just joined has no description yet.
    names = {(node.get("Description") or {}).get("Hostname") for node in nodes if node["ID"] in ours} | set(hostnames)
    names -= {None, ""}
    return [
        node
        for node in nodes
        if node["ID"] not in ours and (is_ours(node) or (node.get("Description") or {}).get("Hostname") in names)
    ]


@_reads_answers
def tasks_of(
    stack: str, tasks: Sequence[dict[str, Any]], services: Sequence[dict[str, Any]], nodes: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the tasks of a stack: service ``name``, ``node``, ``state``, ``wanted``, ``error``, ``at`` (seconds).

    :param tasks: as the engine lists them, and so with ``services`` and ``nodes``.
    """
    names = {service["ID"]: service["Spec"]["Name"] for service in services}
    hosts = {node["ID"]: (node.get("Description") or {}).get("Hostname", "") for node in nodes}
    return [
        {
            "name": names[task["ServiceID"]],
            "node": hosts.get(task.get("NodeID", ""), ""),
            "state": task["Status"]["State"],
            "wanted": task.get("DesiredState", ""),
            "error": task["Status"].get("Err", ""),
            "at": calendar.timegm(time.strptime(task["Status"]["Timestamp"][:19], "%Y-%m-%dT%H:%M:%S")),
        }
        for task in tasks
        if names.get(task["ServiceID"], "").startswith(f"{stack}_")
    ]


@_reads_answers
def is_down(node: dict[str, Any]) -> bool:
    """Whether the manager has lost sight of a node."""
    return node["Status"].get("State") == "down"


@_reads_answers
def node_problems(node: dict[str, Any], kind: str, values: Sequence[str], address: str | None = None) -> list[str]:
    """Return what keeps a node (``/nodes/<id>``) from being ready, at its address, with exactly these resources."""
    found = []
    state, message = node["Status"].get("State"), node["Status"].get("Message")
    if state != "ready":
        found.append(f"is {state}" + (f" ({message})" if message else ""))
    if node["Spec"].get("Availability") != "active":
        found.append(
            f"has availability {node['Spec'].get('Availability')!r} (docker node update --availability active)"
        )
    if address and address_of(node) != address:
        found.append(f"is at {address_of(node)} instead of {address}")
    resources = ((node.get("Description") or {}).get("Resources") or {}).get("GenericResources") or []
    named = [one["NamedResourceSpec"] for one in resources if "NamedResourceSpec" in one]
    offered = sorted(one["Value"] for one in named if one["Kind"] == kind)
    if offered != sorted(values):
        found.append(
            f"offers {kind} {', '.join(offered) or '(none)'} instead of {', '.join(sorted(values)) or '(none)'} "
            "(restart Docker there)"
        )
    return found


def wait_until_solved(timeout: float, problems: Callable[[], list[str]]) -> None:
    """Ask once a second until there is no problem any more.

    :param timeout: how many seconds that may take.
    :raises SwarmError: with the problems that are left.
    """
    deadline = time.monotonic() + timeout
    while found := problems():
        if time.monotonic() >= deadline:
            raise SwarmError(f"after {timeout} s the swarm is not complete: {'; '.join(found)}")
        time.sleep(1)
