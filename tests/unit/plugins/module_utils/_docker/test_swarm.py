# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which swarm an engine is in, when it may enter one, and what its nodes lack."""

from __future__ import annotations

import ipaddress

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm import (
    Membership,
    SwarmError,
    address_of,
    clock_problem,
    cluster_of_certificate,
    collisions,
    explain_join,
    free_pool,
    leader_step,
    leftovers,
    membership,
    node_problems,
    overlays,
    rank_labels,
    settled,
    tasks_of,
    usable_address,
    with_labels,
    worker_step,
)
from hypothesis import given
from hypothesis import strategies as st

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


@pytest.mark.parametrize("state", ["error", "locked"])
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


LEADER = "10.0.0.9"


def test_the_leader_makes_a_swarm_once() -> None:
    assert leader_step(Membership(), "10.0.0.1") == "enter"
    assert leader_step(HERE, "10.0.0.1") == "stay"


def test_a_worker_joins_once() -> None:
    assert worker_step(Membership(), "mine", "10.0.0.1", LEADER) == "enter"
    assert worker_step(Membership(), None, "10.0.0.1", LEADER) == "enter"
    assert worker_step(HERE, "mine", "10.0.0.1", LEADER) == "stay"


@pytest.mark.parametrize("cluster", ["theirs", None])
def test_a_worker_in_another_swarm_is_refused_and_both_are_named(cluster: str | None) -> None:
    wanted = f"swarm {cluster}" if cluster else "no swarm yet"
    with pytest.raises(SwarmError, match=f"in swarm mine .*the leader at 10.0.0.9 is in {wanted}.*allow_rejoin"):
        worker_step(HERE, cluster, "10.0.0.1", LEADER)
    assert worker_step(HERE, cluster, "10.0.0.1", LEADER, allow_rejoin=True) == "rejoin"


@pytest.mark.parametrize("pending", [False, True])
@pytest.mark.parametrize("cluster", ["theirs", None])
def test_a_worker_whose_leader_was_re_imaged_joins_anew(cluster: str | None, pending: bool) -> None:
    orphan = Membership(True, False, "mine", "two", "10.0.0.1", (f"{LEADER}:2377",), pending)
    assert worker_step(orphan, cluster, "10.0.0.1", LEADER) == "rejoin"


def test_a_worker_with_another_manager_beside_that_is_no_orphan() -> None:
    two = Membership(True, False, "mine", "two", "10.0.0.1", ("10.0.0.8:2377", f"{LEADER}:2377"))
    with pytest.raises(SwarmError, match="in another swarm"):
        worker_step(two, None, "10.0.0.1", LEADER)


def test_a_worker_that_does_not_find_its_manager_is_refused() -> None:
    lost = Membership(True, False, "mine", "two", "10.0.0.1", (f"{LEADER}:2377",), pending=True)
    with pytest.raises(SwarmError, match="does not find its manager"):
        worker_step(lost, "mine", "10.0.0.1", LEADER)


def test_a_leader_that_is_a_worker_is_refused() -> None:
    worker = Membership(True, False, "mine", "one", "10.0.0.1")
    with pytest.raises(SwarmError, match="it is a worker of swarm mine"):
        leader_step(worker, "10.0.0.1")
    assert leader_step(worker, "10.0.0.1", allow_rejoin=True) == "rejoin"


def test_another_address_is_refused() -> None:
    with pytest.raises(SwarmError, match=r"address 10\.0\.0\.1, but 10\.0\.0\.2 was asked for"):
        leader_step(HERE, "10.0.0.2")
    with pytest.raises(SwarmError, match=r"Advertise 10\.0\.0\.1"):
        worker_step(HERE, "mine", "10.0.0.2", LEADER)
    assert worker_step(HERE, "mine", "10.0.0.2", LEADER, allow_rejoin=True) == "rejoin"


@pytest.mark.parametrize("apart", [0.0, 59.0, -59.0])
def test_clocks_that_a_swarm_can_live_with(apart: float) -> None:
    assert clock_problem(1000.0 + apart, 1000.0) is None


def test_clocks_that_are_wrong() -> None:
    assert "7200 s behind its leader's" in (clock_problem(0.0, 7200.0) or "")
    assert "61 s ahead of" in (clock_problem(61.0, 0.0) or "")


@pytest.mark.parametrize(
    ("networks", "pool"),
    [
        ([], None),
        (["192.168.1.0/24", "172.17.0.0/16"], None),
        (["10.203.203.0/24"], "10.255.0.0/16"),
        (["10.255.3.0/24"], "10.254.0.0/16"),
        (["10.0.0.0/8"], "172.31.0.0/16"),
    ],
)
def test_a_swarm_keeps_clear_of_the_members_networks(networks: list[str], pool: str | None) -> None:
    assert free_pool(networks) == pool


def test_no_pool_is_left() -> None:
    with pytest.raises(SwarmError, match="swarm_gpu_address_pool"):
        free_pool(["10.0.0.0/8", "172.16.0.0/12"])


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(8, 32)), max_size=6))
def test_a_free_pool_meets_nothing(numbers: list[tuple[int, int]]) -> None:
    networks = [str(ipaddress.IPv4Network(number, strict=False)) for number in numbers]
    try:
        pool = ipaddress.IPv4Network(free_pool(networks) or "10.0.0.0/8")
    except SwarmError:
        return
    assert not any(pool.overlaps(ipaddress.IPv4Network(network)) for network in networks)


def test_a_swarm_in_the_way_of_a_members_network_is_named() -> None:
    places = {"10.0.0.0/25": "enp1s0f0np0", "10.0.0.0/24": "docker_gwbridge", "10.0.1.0/24": "enP7s7"}
    routes = [(ipaddress.IPv4Network(network), interface) for network, interface in places.items()]
    assert collisions(["10.0.0.0/24"], routes) == ["10.0.0.0/24 of the swarm and 10.0.0.0/25 on enp1s0f0np0"]


def test_finds_the_swarms_own_networks() -> None:
    networks = [
        {"Name": "ingress", "Scope": "swarm", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.0.0.0/24"}]}},
        {"Name": "six", "Scope": "swarm", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "fd00::/64"}]}},
        {"Name": "bridge", "Scope": "local", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]}},
        {"Name": "bare", "Scope": "swarm", "Driver": "overlay", "IPAM": None},
    ]
    assert overlays(networks) == ["10.0.0.0/24"]


def listed(name: str, host: str, labels: dict | None = None) -> dict:
    return {"ID": name, "Description": {"Hostname": host}, "Spec": {"Labels": labels}, "Status": {"State": "down"}}


def test_finds_what_is_no_member_any_more() -> None:
    ours = rank_labels(1)
    nodes = [
        listed("a", "spark1", rank_labels(0)),
        listed("b", "spark2", ours),
        listed("old", "spark2"),  # before spark2 was re-imaged
        listed("gone", "spark3", ours),
        listed("stranger", "nas"),
    ]
    assert [one["ID"] for one in leftovers(nodes, ["a", "b"])] == ["old", "gone"]


def test_knows_a_managers_address() -> None:
    status = {"Status": {"Addr": "0.0.0.0"}}
    assert address_of({**status, "ManagerStatus": {"Addr": "10.0.0.1:2377"}}) == "10.0.0.1"
    assert address_of({"Status": {"Addr": "10.0.0.2"}}) == "10.0.0.2"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("rpc error: code = InvalidArgument desc = A valid join token is necessary: invalid join token", "rotated"),
        ("rpc error: code = Unavailable desc = connection refused", "let TCP 2377"),
        ("Timeout was reached before node joined.", "let TCP 2377"),
        ("x509: certificate is not valid yet", "synchronise the clocks"),
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
    found = node_problems(there, "gpu", ["A", "B"])
    assert len(found) == bool(message)
    if message:
        assert found[0].startswith(message.replace("\\", ""))


def test_tasks_of_a_stack() -> None:
    services = [{"ID": "s1", "Spec": {"Name": "t_worker"}}, {"ID": "s2", "Spec": {"Name": "other_worker"}}]
    nodes = [{"ID": "n1", "Description": {"Hostname": "spark2"}}]
    status = {"Timestamp": "1970-01-02T00:00:01.5Z", "State": "rejected", "Err": "No such image: x"}
    waits = {"ServiceID": "s1", "Status": {"Timestamp": "1970-01-01T00:00:00Z", "State": "pending"}}
    tasks = [
        {"ServiceID": "s1", "NodeID": "n1", "DesiredState": "shutdown", "Status": status},
        {"ServiceID": "s2", "NodeID": "n1", "DesiredState": "running", "Status": status},
        {**waits, "DesiredState": "running"},
    ]
    assert tasks_of("t", tasks, services, nodes) == [
        {
            "name": "t_worker",
            "node": "spark2",
            "state": "rejected",
            "wanted": "shutdown",
            "error": "No such image: x",
            "at": 86401,
        },
        {"name": "t_worker", "node": "", "state": "pending", "wanted": "running", "error": "", "at": 0},
    ]


def test_a_node_that_has_just_joined_has_no_description_yet() -> None:
    """Docker gives such a node ``"Description": {}`` until its agent has told the manager of itself."""
    new = {"ID": "a", "Spec": {"Labels": None}, "Status": {"State": "unknown"}, "Description": {}}
    old = {"ID": "old", "Spec": {"Labels": {"dgx_spark.rank": "0"}}, "Status": {"State": "down"}}
    assert [one["ID"] for one in leftovers([new, old], ["a"])] == ["old"]


def test_an_answer_of_another_form_is_named() -> None:
    with pytest.raises(
        SwarmError, match=r"Docker Engine's answer about the swarm cannot be read \('Spec' is missing\)"
    ):
        leftovers([{"ID": "b"}], ["a"])
