# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that is reached says so, on open ports and on closed ones; what silence means depends on who is silent."""

from __future__ import annotations

import socket
from typing import Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import swarm_ports
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm_ports import (
    closed_ports,
    problems,
    tcp,
    udp,
)


@pytest.fixture
def bound() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP and a UDP socket on loopback that nobody reads from."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        stream.bind(("127.0.0.1", 0))
        datagram.bind(("127.0.0.1", 0))
        yield stream, datagram


def test_tells_open_from_closed(bound: tuple[socket.socket, socket.socket]) -> None:
    stream, datagram = bound
    assert tcp("127.0.0.1", stream.getsockname()[1], 1) == "closed"
    stream.listen()
    assert tcp("127.0.0.1", stream.getsockname()[1], 1) == "open"
    port = datagram.getsockname()[1]
    assert udp("127.0.0.1", port, 0.1) == "silent"
    datagram.close()
    assert udp("127.0.0.1", port, 1) == "closed"


def test_what_is_in_the_way_is_said() -> None:
    assert "nreachable" in tcp("255.255.255.255", 1, 1) or tcp("255.255.255.255", 1, 1) not in ("open", "closed")


@pytest.mark.parametrize(
    ("found", "in_swarm", "wrong"),
    [
        ({"TCP 2377": "open", "UDP 4789": "closed"}, False, []),
        ({"TCP 2377": "silent", "UDP 4789": "silent"}, False, ["TCP 2377 (silent)", "UDP 4789 (silent)"]),
        ({"TCP 2377": "silent", "UDP 4789": "silent"}, True, ["TCP 2377 (silent)"]),
        ({"UDP 4789": "No route to host"}, True, ["UDP 4789 (No route to host)"]),
    ],
)
def test_names_the_closed_ports(found: dict[str, str], in_swarm: bool, wrong: list[str]) -> None:
    assert closed_ports(found, in_swarm=in_swarm) == wrong


def test_names_host_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"10.0.0.2": {"TCP 2377": "silent"}, "10.0.0.3": {"TCP 2377": "closed"}}
    monkeypatch.setattr(swarm_ports, "probe", lambda address, _timeout: said[address])
    peers = {"spark2": "10.0.0.2", "spark3": "10.0.0.3"}
    assert problems(peers, [], 1) == ["spark2 (10.0.0.2): TCP 2377 (silent)"]


@pytest.mark.parametrize("address", ["nothing.invalid", "a..b", "x" * 70])
def test_a_name_that_means_nothing_is_said_of_each_port(address: str) -> None:
    found = swarm_ports.probe(address, 0.1)
    assert len(swarm_ports.closed_ports(found, in_swarm=False)) == len(swarm_ports.TCP) + len(swarm_ports.UDP)
