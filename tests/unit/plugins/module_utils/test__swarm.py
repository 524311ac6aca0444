# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which swarm an engine is in, when it may enter one, and what its nodes lack."""

from __future__ import annotations

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._swarm import (
    Membership,
    SwarmError,
    cluster_of_certificate,
    explain_join,
    membership,
    must_initialise,
    must_join,
    rank_labels,
    settled,
    shortcomings,
    usable_address,
    with_labels,
)

# swarm-node.crt of a virtual Spark (a certificate is public; its swarm is gone).
CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIICNTCCAdugAwIBAgIUM2bZi1mjdjxU8j9vgcyKLK9AznkwCgYIKoZIzj0EAwIw
EzERMA8GA1UEAxMIc3dhcm0tY2EwHhcNMjYxMTIxMTIxMDAwWhcNMjcwMjE5MTMx
MDAwWjBgMSIwIAYDVQQKExlkYWRmdDhuamh1Y3l6YmI5Ymh6bnFvNGFoMRYwFAYD
VQQLEw1zd2FybS1tYW5hZ2VyMSIwIAYDVQQDExlyNDZwODQzemNxM2N6cm53d2hl
dGhxdWJpMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE1P6AmOm03g+HIZ1j/Rna
lqee/UH1nYxiypM3TyqKjxqjXs0LK9EMBC1PBzxwcKUNXEuUpWY7CZbTU7qIMe1S
K6OBvzCBvDAOBgNVHQ8BAf8EBAMCBaAwHQYDVR0lBBYwFAYIKwYBBQUHAwEGCCsG
AQUFBwMCMAwGA1UdEwEB/wQCMAAwHQYDVR0OBBYEFOdtPyDh7Ul7VNRiL7UUdpHJ
9bwJMB8GA1UdIwQYMBaAFOGu0VPxOZukOPRHxqmrld6BcyjVMD0GA1UdEQQ2MDSC
DXN3YXJtLW1hbmFnZXKCGXI0NnA4NDN6Y3EzY3pybnd3aGV0aHF1YmmCCHN3YXJt
LWNhMAoGCCqGSM49BAMCA0gAMEUCIQCrr9uXkcP1IWa7QMklP8hrKukcOYlyPMVS
7ciCzzrCFQIgdXC0iQuop5UfzBr1XrT/Yt1oWYAJ+bZ4WUBIvPixLz0=
-----END CERTIFICATE-----
"""
CLUSTER = "dadft8njhucyzbb9bhznqo4ah"
MANAGER = {
    "Swarm": {
        "LocalNodeState": "active",
        "ControlAvailable": True,
        "Cluster": {"ID": "mine"},
        "NodeID": "one",
        "NodeAddr": "10.0.0.1",
        "RemoteManagers": [{"NodeID": "one", "Addr": "10.0.0.1:2377"}],
    }
}
WORKER = {"Swarm": {**MANAGER["Swarm"], "ControlAvailable": False, "Cluster": None, "NodeID": "two"}}


def test_reads_the_cluster_from_the_certificate() -> None:
    assert cluster_of_certificate(CERTIFICATE) == CLUSTER
    assert cluster_of_certificate("") is None
    assert cluster_of_certificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n") is None


def test_knows_where_an_engine_is() -> None:
    assert membership({"Swarm": {"LocalNodeState": "inactive"}}) == membership({}) == Membership()
    manager, worker = membership(MANAGER), membership(WORKER, CERTIFICATE)
    assert (manager.cluster_id, manager.manager, worker.cluster_id, worker.manager) == ("mine", True, CLUSTER, False)
    assert worker.in_words() == f"swarm {CLUSTER} (managers: 10.0.0.1:2377)"


@pytest.mark.parametrize("state", ["pending", "error", "locked"])
def test_refuses_a_place_that_is_neither_in_nor_out(state: str) -> None:
    with pytest.raises(SwarmError, match=f"in state '{state}': no route.*docker swarm leave --force"):
        membership({"Swarm": {"LocalNodeState": state, "Error": "no route"}})


@pytest.mark.parametrize(
    ("info", "is_settled"),
    [
        ({}, True),
        (MANAGER, True),
        (WORKER, True),
        ({"Swarm": {"LocalNodeState": "pending"}}, False),
        ({"Swarm": {"LocalNodeState": "active", "ControlAvailable": True}}, False),
    ],
)
def test_knows_when_to_wait(info: dict, is_settled: bool) -> None:
    assert settled(info) is is_settled


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.1.1", "spark1 = 127.0.1.1 is a loopback"),
        ("169.254.3.4", "is link-local, which can change"),
        ("0.0.0.0", "is no host's address"),
        ("224.0.0.1", "is no host's address"),
        ("fe80::1", "is no IPv4 address"),
    ],
)
def test_refuses_an_address(address: str, message: str) -> None:
    with pytest.raises(SwarmError, match=message):
        usable_address("spark1", address)


def test_takes_an_address() -> None:
    assert usable_address("10.0.0.1", "10.0.0.1") == "10.0.0.1"


HERE = Membership(True, True, "mine", "one", "10.0.0.1", ("10.0.0.1:2377",))


def test_the_leader_makes_a_swarm_once() -> None:
    assert must_initialise(Membership(), "10.0.0.1")
    assert not must_initialise(HERE, "10.0.0.1")


def test_a_worker_joins_once() -> None:
    assert must_join(Membership(), "mine", "10.0.0.1", "10.0.0.9")
    assert must_join(Membership(), None, "10.0.0.1", "10.0.0.9")
    assert not must_join(HERE, "mine", "10.0.0.1", "10.0.0.9")


@pytest.mark.parametrize("cluster", ["theirs", None])
def test_a_worker_in_another_swarm_is_refused_and_both_are_named(cluster: str | None) -> None:
    wanted = f"swarm {cluster}" if cluster else "no swarm yet"
    with pytest.raises(SwarmError, match=f"in swarm mine .*the leader at 10.0.0.9 is in {wanted}"):
        must_join(HERE, cluster, "10.0.0.1", "10.0.0.9")


def test_a_leader_that_is_a_worker_is_refused() -> None:
    with pytest.raises(SwarmError, match="it is a worker of swarm mine"):
        must_initialise(Membership(True, False, "mine", "one", "10.0.0.1"), "10.0.0.1")


def test_another_address_is_refused() -> None:
    with pytest.raises(SwarmError, match=r"address 10\.0\.0\.1, but 10\.0\.0\.2 was asked for"):
        must_initialise(HERE, "10.0.0.2")
    with pytest.raises(SwarmError, match=r"Advertise 10\.0\.0\.1"):
        must_join(HERE, "mine", "10.0.0.2", "10.0.0.9")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("rpc error: code = Unavailable desc = connection refused", "let TCP 2377"),
        ("Timeout was reached before node joined.", "let TCP 2377"),
        ("x509: certificate is not valid yet", "set the clocks"),
        ("something else", "joining the swarm of 10.0.0.9:2377 failed: something else"),
    ],
)
def test_explains_why_joining_failed(said: str, message: str) -> None:
    assert message in explain_join(said, "10.0.0.9:2377")


def test_labels_keep_those_of_others() -> None:
    assert rank_labels(0) == {"dgx_spark.rank": "0", "dgx_spark.role": "leader"}
    assert rank_labels(2) == {"dgx_spark.rank": "2", "dgx_spark.role": "worker"}
    assert with_labels({"x": "y", "dgx_spark.rank": "7"}, rank_labels(1)) == {"x": "y", **rank_labels(1)}
    assert with_labels({"x": "y", **rank_labels(1)}, rank_labels(0), there=False) == {"x": "y"}
    assert with_labels(None, rank_labels(0), there=False) == {}


def node(state: str = "ready", availability: str = "active", *resources: tuple[str, str]) -> dict:
    offered = [{"NamedResourceSpec": {"Kind": kind, "Value": value}} for kind, value in resources]
    return {
        "Status": {"State": state},
        "Spec": {"Availability": availability},
        "Description": {"Resources": {"GenericResources": offered}},
    }


@pytest.mark.parametrize(
    ("there", "message"),
    [
        (node("ready", "active", ("gpu", "B"), ("gpu", "A"), ("fpga", "C")), ""),
        (node("down", "active", ("gpu", "A"), ("gpu", "B")), "is down"),
        (node("ready", "drain", ("gpu", "A"), ("gpu", "B")), "has availability 'drain'"),
        (node("ready", "active", ("gpu", "A")), r"offers gpu A instead of A, B"),
        (node("ready", "active", ("gpu", "A"), ("gpu", "B"), ("gpu", "old")), r"offers gpu A, B, old instead of A, B"),
        ({"Status": {"State": "ready"}, "Spec": {"Availability": "active"}}, r"offers gpu \(none\) instead"),
    ],
)
def test_says_what_a_node_lacks(there: dict, message: str) -> None:
    found = shortcomings(there, "gpu", ["A", "B"])
    assert len(found) == bool(message)
    if message:
        assert found[0].startswith(message.replace("\\", ""))
