# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Open MPI hostfiles.

This module util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Mapping, NamedTuple, Sequence

HEADER = "# Ansible managed (sparkops.dgx_spark.mpi_hostfile): changes made here will be lost.\n"

_OCTET = r"(?:0|[1-9]\d?|1\d\d|2[0-4]\d|25[0-5])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII)
_HOSTNAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
# inet_aton reads a last label of digits, or of hexadecimal, as an address: "10.1" is 10.0.0.1.
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:\d+|0x[0-9a-f]*)", re.ASCII | re.IGNORECASE)
_LOOPBACK_NAME = re.compile(
    r"(?:localhost\d*|loopback|ip6-localhost|ip6-loopback)(?:\..*)?|.*\.localhost", re.IGNORECASE
)
# Words that Open MPI's reader of hostfiles takes for its own.
_KEYWORDS = re.compile(
    r"slots?|count|cpu|rank|username|user-name|port|boards|sockets|cores|cpu-set|(?:sockets-per-board|cores-per-socket)"
    r"|(?:slots|cpu|count)-max|max-(?:slots|cpu|count)"
)


class HostfileError(ValueError):
    """A node cannot stand in a hostfile; the message names it and the mend."""


class Node(NamedTuple):
    """One line of a hostfile."""

    address: str
    slots: int


def validate_nodes(nodes: Sequence[Mapping[str, Any]]) -> list[Node]:
    """Return the nodes, or refuse the first that Open MPI could not use as it stands."""
    if not nodes:
        raise HostfileError("nodes is empty: give at least one node, the leader")
    seen: dict[str, int] = {}
    labels: dict[str, int] = {}
    valid = []
    for index, node in enumerate(nodes):
        address, slots = node["address"], node.get("slots", 1)
        bare = address[:-1] if address.endswith(".") else address
        reason = _refuse_address(address, bare)
        if reason:
            raise HostfileError(f"nodes[{index}].address {address!r} {reason}")
        name = bare.lower()
        if name in seen:
            raise HostfileError(
                f"nodes[{index}].address {address!r} is that of nodes[{seen[name]}] again: name each node once, "
                "with all its slots"
            )
        seen[name] = index
        first = _first_label(name)
        if first in labels:
            raise HostfileError(
                f"nodes[{index}].address {address!r} is the same host as nodes[{labels[first]}] to Open MPI, which "
                f"drops the domain and takes both for {first!r}: give their addresses, or names that begin differently"
            )
        labels[first] = index
        if isinstance(slots, bool) or not isinstance(slots, int) or slots < 1:
            raise HostfileError(f"nodes[{index}].slots {slots!r} is not a whole number of at least 1 ({address})")
        valid.append(Node(address, slots))
    return valid


def render(nodes: Sequence[Node], first_is_here: bool = False) -> str:
    """Return the hostfile's text, in the order of the nodes: rank 0 runs on the first.

    :param first_is_here: whether mpirun runs on the first node, which is localhost to it then: mpirun calls by ssh what
        is not its own host's name.

    >>> print(render([Node("spark1", 1), Node("spark2", 1)], first_is_here=True).partition("\\n")[2], end="")
    localhost slots=1
    spark2 slots=1
    """
    names = [node.address for node in nodes]
    names[:1] = ["localhost"] if first_is_here else names[:1]
    return HEADER + "".join(f"{name} slots={node.slots}\n" for name, node in zip(names, nodes))


def _first_label(name: str) -> str:
    """The part of a name by which Open MPI tells hosts apart; an IPv4 address is one as it is."""
    return name if _IPV4.fullmatch(name) else name.split(".")[0]


def _refuse_address(address: str, bare: str) -> str | None:
    if _IPV4.fullmatch(bare):
        return _refuse_ipv4(bare) if bare == address else "is malformed: take the dot at its end away"
    if ":" in address:
        return _refuse_colon(address)
    if address == "*":
        return "is a wildcard: give the one address at which the other nodes reach this node"
    if _NUMERIC_END.fullmatch(bare):
        return "is malformed: an IPv4 address has four numbers from 0 to 255, without leading zeros"
    if not _HOSTNAME.fullmatch(bare):
        return (
            "is malformed: neither an IPv4 address nor a hostname (letters, digits and hyphens, in labels joined by "
            "dots, without blanks or underscores)"
        )
    if _NUMERIC_END.fullmatch(bare.split(".")[0]):
        return (
            f"is {bare.split('.')[0]!r} to Open MPI, which drops the domain and takes a number for an address: give "
            "the address, or a name that begins with a letter"
        )
    if _LOOPBACK_NAME.fullmatch(bare):
        return "is a loopback name, which is another host on each node: give the address that the other nodes reach"
    if _KEYWORDS.fullmatch(bare):
        return "is a keyword of hostfiles, which Open MPI would not take for a host: use its address"
    return None


def _refuse_ipv4(address: str) -> str | None:
    ip = ipaddress.IPv4Address(address)
    if ip.is_loopback:
        return "is a loopback address, which is another host on each node: give the address that the other nodes reach"
    if ip.is_unspecified:
        return "is a wildcard: give the one address at which the other nodes reach this node"
    if address.startswith("0.") or ip.is_multicast or ip.is_reserved:
        return "is no host's address (unspecified, multicast, reserved or broadcast): give the node's own"
    return None


def _refuse_colon(address: str) -> str:
    try:
        # Python 3.8 knows no zones (%eth0).
        ip = ipaddress.IPv6Address(address.strip("[]").split("%")[0])
    except ValueError:
        return "is malformed: give the address alone, without a port"
    if ip.is_unspecified:
        return "is a wildcard: give the one address at which the other nodes reach this node"
    if ip.is_loopback:
        return "is a loopback address, which is another host on each node: give the address that the other nodes reach"
    return (
        "is IPv6, which is not supported (Open MPI 4 refuses it as a node's name, and is mostly built without IPv6): "
        "give an IPv4 address or a hostname"
    )
