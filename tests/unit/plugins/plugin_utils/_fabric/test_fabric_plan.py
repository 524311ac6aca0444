# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What any cabling of virtual ports becomes, and what is refused with which words."""

from __future__ import annotations

import copy
import ipaddress
import itertools

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.netplan import render
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._fabric.cabling import FabricError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._fabric.plan import (
    POOL,
    describe,
    fabric_name,
    find_drift,
    plan_fabric,
)
from hypothesis import given
from hypothesis import strategies as st

NETDEVS = {(0, "A"): "enp1s0f0np0", (0, "B"): "enP2p1s0f0np0", (1, "A"): "enp1s0f1np1", (1, "B"): "enP2p1s0f1np1"}


WITHOUT_CABLE = {"marker": True, "enabled": True, "cable": False}


def member(rank: int, up: str = "0", down: str = "", networks: tuple = (), heard: str | None = None) -> dict:
    """A Spark whose cages ``up`` have a carrier and whose cages ``down`` are administratively down.

    ``heard`` is whom it heard at which cage: "0-2:1" is cage 1 of spark2 at cage 0.
    """
    address = f"192.168.1.{20 + rank}"
    return {
        "name": f"spark{rank}",
        "host": address,
        "addresses": [address, "172.17.0.1"],
        "management_address": address,
        "networks": [
            {"network": "192.168.1.0/24", "netdev": "enP7s7"},
            *({"network": network, "netdev": netdev} for network, netdev in networks),
        ],
        "links": [
            {
                "netdev": netdev,
                "rdma_device": netdev.replace("en", "roce", 1).split("np")[0],
                "port": 1,
                "physical_port": cage,
                "half": half,
                "admin_up": str(cage) not in down,
                "carrier": None if str(cage) in down else str(cage) in up,
                "mac": f"3c:6d:66:ad:{rank:02x}:{cage}{half.lower()}",
                "ipv4": [],
                "mtu": 1500,
            }
            for (cage, half), netdev in NETDEVS.items()
        ],
        "neighbors": None
        if heard is None
        else [
            {"physical_port": int(one[0]), "id": f"3c:6d:66:ad:{int(one[2]):02x}:0a", "cage": int(one[4])}
            for one in heard.split()
        ],
    }


def planned(*members: dict, **options: object) -> dict:
    return plan_fabric([one["name"] for one in members], members, **options)


def ends(plan: dict, name: str) -> list[tuple]:
    return [(link["netdev"], link["address"], link["peer_address"]) for link in plan["hosts"][name]["links"]]


def test_one_cable_between_two() -> None:
    plan = planned(member(1), member(2))
    assert plan["topology"] == "direct"
    assert list(plan["hosts"]) == ["spark1", "spark2"]
    assert [host["control_address"] for host in plan["hosts"].values()] == ["192.168.100.10", "192.168.100.11"]
    assert plan["hosts"]["spark2"]["links"] == [
        {
            "netdev": "enp1s0f0np0",
            "rdma_device": "rocep1s0f0",
            "port": 1,
            "physical_port": 0,
            "half": "A",
            "address": "192.168.100.11/24",
            "network": "192.168.100.0/24",
            "peer": "spark1",
            "peer_address": "192.168.100.10",
            "peer_physical_port": 0,
            "peer_netdev": "enp1s0f0np0",
            "peer_mac": "3c:6d:66:ad:01:0a",
        },
        {
            "netdev": "enP2p1s0f0np0",
            "rdma_device": "roceP2p1s0f0",
            "port": 1,
            "physical_port": 0,
            "half": "B",
            "address": "192.168.101.11/24",
            "network": "192.168.101.0/24",
            "peer": "spark1",
            "peer_address": "192.168.101.10",
            "peer_physical_port": 0,
            "peer_netdev": "enP2p1s0f0np0",
            "peer_mac": "3c:6d:66:ad:01:0b",
        },
    ]


def test_crossed_ports_pair_by_half() -> None:
    plan = planned(member(1, up="0"), member(2, up="1"))
    assert ends(plan, "spark1")[0] == ("enp1s0f0np0", "192.168.100.10/24", "192.168.100.11")
    assert ends(plan, "spark2")[0] == ("enp1s0f1np1", "192.168.100.11/24", "192.168.100.10")
    assert ends(plan, "spark2")[1] == ("enP2p1s0f1np1", "192.168.101.11/24", "192.168.101.10")


def test_two_cables_join_the_same_cages_unless_told_otherwise() -> None:
    both = member(1, up="01"), member(2, up="01")
    straight = planned(*both)
    assert [link["peer_physical_port"] for link in straight["hosts"]["spark1"]["links"]] == [0, 0, 1, 1]
    crossed = planned(*both, cables=[["spark2:0", "spark1:1"], ["spark1:0", "spark2:1"]])
    links = crossed["hosts"]["spark1"]["links"]
    assert [(link["physical_port"], link["peer_physical_port"]) for link in links] == [(0, 1), (0, 1), (1, 0), (1, 0)]
    assert crossed["hosts"]["spark1"]["control_address"] == "192.168.100.10"


def test_one_host_has_no_fabric_and_needs_no_cable() -> None:
    plan = planned(member(1, up=""))
    assert plan["topology"] == "single"
    assert plan["hosts"] == {
        "spark1": {
            "control_address": "192.168.1.21",
            "control_netdev": "enP7s7",
            "control_network": "192.168.1.0/24",
            "control_on_fabric": False,
            "fabric_name": "spark1-fabric",
            "links": [],
            "rdma_devices": [],
            "netdevs": {},
        }
    }


@pytest.mark.parametrize(
    ("host", "management", "control"),
    [("spark.local", "10.0.0.5", "10.0.0.5"), ("203.0.113.1", "10.0.0.5", "10.0.0.5"), ("x", None, "127.0.0.1")],
)
def test_a_management_name_or_the_outside_of_a_nat_gives_way_to_the_hosts_own_address(
    host: str, management: str | None, control: str
) -> None:
    one = {**member(1), "host": host, "management_address": management}
    assert planned(one)["hosts"]["spark1"]["control_address"] == control


def test_a_ring_uses_the_management_addresses_for_control() -> None:
    plan = planned(*(member(rank, up="01") for rank in (1, 2, 3)))
    assert plan["topology"] == "ring"
    control = [plan["hosts"]["spark3"][f"control_{what}"] for what in ("address", "netdev", "network")]
    assert control == ["192.168.1.23", "enP7s7", "192.168.1.0/24"]
    peers = [(link["physical_port"], link["peer"]) for link in plan["hosts"]["spark1"]["links"]]
    assert peers == [(0, "spark2"), (0, "spark2"), (1, "spark3"), (1, "spark3")]


@pytest.mark.parametrize(
    ("network", "netdev", "expected"),
    [
        ("192.168.1.16/28", "wlP9s9", ("wlP9s9", "192.168.1.16/28")),
        ("192.168.1.21/32", "", ("enP7s7", "192.168.1.0/24")),
    ],
)
def test_the_management_network_is_the_narrowest_around_the_address(
    network: str, netdev: str, expected: tuple[str, str]
) -> None:
    host = planned(member(1, networks=((network, netdev),)))["hosts"]["spark1"]
    assert (host["control_netdev"], host["control_network"]) == expected


def test_a_management_address_without_a_network_is_planned_all_the_same() -> None:
    host = planned({**member(1), "networks": []})["hosts"]["spark1"]
    assert (host["control_address"], host["control_netdev"], host["control_network"]) == ("192.168.1.21", None, None)


def test_a_switch_joins_any_number_whatever_cage_they_use() -> None:
    plan = planned(member(1), member(2, up="1"), member(3), member(4))
    assert plan["topology"] == "switch"
    assert plan["hosts"]["spark2"]["control_address"] == "192.168.100.11"
    halves = [(link["netdev"], link["peer"]) for link in plan["hosts"]["spark2"]["links"]]
    assert halves == list(itertools.product(["enp1s0f1np1", "enP2p1s0f1np1"], ["spark1", "spark3", "spark4"]))


def test_networks_in_use_are_left_out_but_not_the_fabrics_own() -> None:
    taken = (("192.168.100.0/23", "wg0"), ("10.100.100.0/24", None), ("192.168.102.0/24", "enp1s0f0np0"))
    plan = planned(member(1, networks=taken), member(2))
    assert [address for _netdev, address, _peer in ends(plan, "spark1")] == ["192.168.102.10/24", "192.168.103.10/24"]


def test_a_half_that_is_admin_down_is_not_a_missing_cable() -> None:
    one = member(1)
    one["links"][1].update(admin_up=False, carrier=None)
    assert len(planned(one, member(2))["hosts"]["spark1"]["links"]) == 2


@pytest.mark.parametrize(
    ("members", "options", "words"),
    [
        ([], {}, ["no members"]),
        ([member(1), member(1)], {}, ["named twice", "spark1"]),
        ([member(1), member(2, up="")], {}, ["spark2 has no live", "cage 0 and cage 1", "plug", "RJ-45"]),
        ([member(1, up=""), member(2, up="")], {}, ["spark1 has no live", "spark2 has no live"]),
        ([member(1, up="01"), member(2)], {}, ["equally many cables", "spark1 2, spark2 1"]),
        ([member(1), member(2)], {"topology": "ring"}, ["three hosts", "there are 2"]),
        ([member(1), member(2)], {"topology": "switch", "cables": [["spark1:0", "spark2:0"]]}, ["leave them out"]),
        ([member(1), member(2)], {"cables": [["spark1:1", "spark2:0"]]}, ["spark1", "cage 1", "plug it in"]),
        ([member(1), member(2)], {"cables": [["spark1:0"]]}, ["not two ends"]),
        ([member(1), member(2)], {"cables": [["spark1:0", "spark9:0"]]}, ["'spark9:0'", "spark1, spark2"]),
        ([member(1), member(2)], {"cables": [["spark1:0", "spark2:7"]]}, ["'spark2:7'", "0, 1"]),
        ([member(1), member(2)], {"cables": [["spark1:0", "spark1:1"]]}, ["with itself"]),
        (
            [member(1), member(2)],
            {"cables": [["spark1:0", "spark2:0"], ["spark1:0", "spark2:1"]]},
            ["has a cable already"],
        ),
        ([member(1), member(2)], {"pool": ["192.168.1.0/24"]}, ["192.168.1.0/24", "is left"]),
        ([member(1), member(2)], {"pool": ["192.168.100.1/22"]}, ["192.168.100.1/22", "no IPv4 network"]),
        ([member(1), member(2)], {"pool": ["8.8.8.0/24"]}, ["8.8.8.0/24", "private"]),
        ([member(1), member(2)], {"pool": ["10.0.0.0/16", "10.0.1.0/24"]}, ["overlaps"]),
        ([member(1), {**member(1), "name": "two"}], {}, ["spark1 and two", "same machine", "ansible_host"]),
        (
            [member(1), {**member(2), "host": "a", "management_address": "192.168.1.21"}],
            {},
            ["192.168.1.21", "its own"],
        ),
        (
            [member(1), {**member(2), "links": []}],
            {},
            ["spark2 shows no ConnectX-7 port at all: plug the QSFP cable in", "whether the host is a DGX Spark"],
        ),
        (
            [{**member(rank), "links": [], "hotplug": WITHOUT_CABLE} for rank in (1, 2)],
            {},
            [
                "spark1 shows no ConnectX-7 port: plug the QSFP cable in at both ends",
                "spark2 shows no ConnectX-7 port: plug",
                "This DGX OS switches the card off without one",
            ],
        ),
        (
            [member(1), {**member(2), "links": [], "hotplug": {**WITHOUT_CABLE, "cable": True}}],
            {},
            ["spark2 shows no ConnectX-7 port, although", "sees a cable", "reboot the Spark with the cable in"],
        ),
        ([member(1), {**member(2), "name": "SPARK1"}], {}, ["both be called spark1-fabric"]),
        ([member(1), {**member(2), "name": "spark1-fabric"}], {}, ["rename it"]),
    ],
)
def test_refuses_with_names_and_mend(members: list[dict], options: dict, words: list[str]) -> None:
    with pytest.raises(FabricError) as refused:
        planned(*members, **options)
    assert [word for word in words if word not in str(refused.value)] == []


def test_a_half_without_signal_is_refused() -> None:
    one = member(1)
    one["links"][1]["carrier"] = False
    with pytest.raises(FabricError, match=r"spark1: one half of cage 0 .* enP2p1s0f0np0 has none: reseat"):
        planned(one, member(2))


def test_a_missing_half_is_refused() -> None:
    one = member(1)
    del one["links"][1]
    with pytest.raises(FabricError, match="shows halves A and B of cage 0, but spark1 A of cage 0"):
        planned(one, member(2))


def test_two_devices_for_one_half_are_refused() -> None:
    one = member(1)
    one["links"].append({**one["links"][0], "netdev": "enp1s0f0v0"})
    with pytest.raises(FabricError, match="enp1s0f0np0 and enp1s0f0v0 both claim"):
        planned(one, member(2))


def test_a_part_of_the_group_makes_no_plan() -> None:
    with pytest.raises(FabricError, match=r"nothing is known of spark1: run without --limit.*all of spark1, spark2"):
        plan_fabric(["spark1", "spark2"], [member(2)])


def test_drift_is_what_differs_from_the_plan() -> None:
    members = [member(1), member(2)]
    plan = planned(*members)
    assert find_drift(plan, members)["spark1"] == ["enp1s0f0np0", "enP2p1s0f0np0"]
    for one in members:
        for link, wanted in zip(one["links"], plan["hosts"][one["name"]]["links"]):
            link.update(ipv4=[wanted["address"]], mtu=9000)
    assert find_drift(plan, members) == {"spark1": [], "spark2": []}
    members[0]["arp"] = {"enp1s0f0np0": [0, 2]}
    members[1]["links"][1]["mtu"] = 1500
    assert find_drift(plan, members) == {"spark1": ["enp1s0f0np0"], "spark2": ["enP2p1s0f0np0"]}
    members[1]["links"][1].update(mtu=9000, admin_up=False)
    assert find_drift(plan, members)["spark2"] == ["enP2p1s0f0np0"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("spark1", "spark1-fabric"), ("Spark1.lan", "spark1-lan-fabric"), ("10.0.0.1", "10-0-0-1-fabric")],
)
def test_fabric_names(name: str, expected: str) -> None:
    assert fabric_name(name) == expected


networks = st.lists(
    st.builds(
        lambda index, length: str(
            ipaddress.ip_network((int(ipaddress.ip_address("192.168.96.0")) + 256 * index, length), strict=False)
        ),
        st.integers(0, 15),
        st.integers(22, 30),
    ),
    max_size=4,
)


@given(
    shape=st.sampled_from([("0", 2), ("1", 2), ("01", 2), ("01", 3), ("0", 3), ("0", 5), ("01", 5)]),
    taken=st.lists(networks, min_size=5, max_size=5),
)
def test_any_plan_is_symmetric_and_overlaps_nothing(shape: tuple[str, int], taken: list[list[str]]) -> None:
    up, count = shape
    members = [
        member(rank, up=up, networks=tuple((network, "wg0") for network in taken[rank])) for rank in range(count)
    ]
    plan = planned(*members)
    # Wherever it is computed, from members in any order, it is the same, and nothing that went in is changed.
    assert plan_fabric([one["name"] for one in members], copy.deepcopy(members[::-1])) == plan
    links = {
        (name, link["netdev"], link["peer"]): link for name in plan["hosts"] for link in plan["hosts"][name]["links"]
    }
    for (name, netdev, peer), link in links.items():
        (back,) = [
            other
            for (other_name, _netdev, other_peer), other in links.items()
            if (other_name, other_peer, other["half"]) == (peer, name, link["half"])
            and other["physical_port"] == link["peer_physical_port"]
            and other["peer_physical_port"] == link["physical_port"]
        ]
        assert back["address"] == f"{link['peer_address']}/24"
        own, there = ipaddress.ip_interface(link["address"]), ipaddress.ip_interface(back["address"])
        assert own.network == there.network
        assert own != there
        assert not any(own.network.overlaps(ipaddress.ip_network(one)) for rank in range(count) for one in taken[rank])
        others = [one["address"] for (n, d, _p), one in links.items() if n == name and d != netdev]
        assert own.network not in [ipaddress.ip_interface(one).network for one in others]


@given(up=st.sampled_from(["0", "1", "01"]), count=st.integers(2, 6))
def test_a_host_more_on_the_switch_moves_nobody(up: str, count: int) -> None:
    members = [member(rank, up=up) for rank in range(count + 1)]
    before = planned(*members[:-1], topology="switch")
    after = planned(*members, topology="switch")
    for name, host in before["hosts"].items():
        assert host["control_address"] == after["hosts"][name]["control_address"]
        assert {link["address"] for link in host["links"]} == {
            link["address"] for link in after["hosts"][name]["links"]
        }


def test_the_default_pool_is_private() -> None:
    assert all(ipaddress.ip_network(entry).is_private for entry in POOL)


# ---- what the wires say


def listened(cables: str, count: int, lit: dict[int, str] | None = None) -> list[dict]:
    """Sparks that heard one another over ``cables``: "1:0-2:1" joins cage 0 of spark1 and cage 1 of spark2."""
    heard: dict[int, list[str]] = {rank: [] for rank in range(1, count + 1)}
    up: dict[int, set[str]] = {rank: set() for rank in heard}
    for cable in cables.split():
        ends = cable.split("-")
        for here, there in itertools.permutations(ends, 2):
            heard[int(here[0])].append(f"{here[2]}-{there}")
        for end in ends:
            up[int(end[0])].add(end[2])
    return [
        member(rank, up="".join(up[rank]) + (lit or {}).get(rank, ""), heard=" ".join(heard[rank])) for rank in heard
    ]


def joined(plan: dict) -> set[str]:
    """Which half is planned to face which, by cage."""
    return {
        f"{name[5:]}:{link['physical_port']}{link['half']}-{link['peer'][5:]}:{link['peer_physical_port']}"
        for name, host in plan["hosts"].items()
        for link in host["links"]
        if name < link["peer"]
    }


@pytest.mark.parametrize(
    ("cables", "count", "topology"),
    [
        ("1:0-2:0", 2, "direct"),
        ("1:1-2:0", 2, "direct"),
        ("1:0-2:1 1:1-2:0", 2, "direct"),
        ("1:0-2:1 2:0-3:1 3:0-1:1", 3, "ring"),
        ("1:1-3:1 1:0-2:1 2:0-3:0", 3, "ring"),
        ("1:0-2:1-3:0", 3, "switch"),
        ("1:0-2:0-3:0-4:0", 4, "switch"),
        ("1:0-1:1-2:0-2:1", 2, "switch"),
        ("1:0-2:0-3:0 1:1-2:1-3:1", 3, "switch"),
    ],
)
def test_cables_are_taken_as_they_run(cables: str, count: int, topology: str) -> None:
    plan = planned(*listened(cables, count))
    assert plan["topology"] == topology
    assert plan["admin_down"] == {}
    if topology != "switch":
        wanted = {tuple(sorted(cable.split("-"))) for cable in cables.split()}
        assert {tuple(pair.replace("A", "").split("-")) for pair in joined(plan) if "A" in pair} == wanted
        assert len(joined(plan)) == 2 * len(wanted)


@pytest.mark.parametrize(
    ("members", "options", "words"),
    [
        (listened("1:0-2:1 2:0-3:1", 3), {}, ["three Sparks in a line", "join spark1 and spark3"]),
        (listened("1:0-1:1", 2, {2: "0"}), {}, ["cage 0 and cage 1 of spark1 are joined with one another"]),
        (listened("1:0-2:0", 2, {1: "1"}), {}, ["no Spark answers", "cage 1 (away from", "spark1"]),
        (
            [member(1, heard="0-9:0"), member(2, heard="")],
            {},
            ["leads to a machine that is not among", "3c:6d:66:ad:09:0a"],
        ),
        (listened("1:0-2:0 3:0-4:0", 4), {}, ["no fabric of all 4", "spark1:0-spark2:0", "switch"]),
        (listened("1:0-2:0", 2), {"cables": [["spark1:0", "spark2:1"]]}, ["otherwise than cx7_network_cables says"]),
        (listened("1:0-2:0-3:0", 3), {"topology": "ring"}, ["make a switch fabric", "says ring"]),
        (listened("1:0-1:1-2:0-3:0", 3), {}, ["equally many cables", "spark1 2"]),
    ],
)
def test_cablings_that_are_no_fabric(members: list[dict], options: dict, words: list[str]) -> None:
    with pytest.raises(FabricError) as refused:
        planned(*members, **options)
    assert [word for word in words if word not in str(refused.value)] == []


def test_a_told_cabling_that_is_so_is_fine() -> None:
    told = [["spark2:0", "spark1:1"], ["spark2:1", "spark1:0"]]
    assert planned(*listened("1:0-2:1 1:1-2:0", 2), cables=told)["topology"] == "direct"


def test_between_two_a_switch_must_be_told() -> None:
    assert planned(*listened("1:0-2:0", 2), topology="switch")["mtu"] == 1500


def test_a_port_that_is_down_is_unknown_and_to_be_raised() -> None:
    plan = planned(member(1, up="", down="01", heard=""), member(2, heard=""))
    assert plan["admin_down"] == {"spark1": list(NETDEVS.values())}
    assert plan["hosts"]["spark2"]["control_address"] == "192.168.100.11"
    # Once it is raised the addresses stay what they were assumed to be.
    assert planned(*listened("1:1-2:0", 2))["hosts"]["spark2"]["control_address"] == "192.168.100.11"


def test_a_port_that_is_down_and_not_needed_is_left_alone() -> None:
    one, two = listened("1:0-2:0", 2)
    for link in one["links"][2:]:
        link.update(admin_up=False, carrier=None)
    assert planned(one, two)["admin_down"] == {}


def test_a_host_with_a_dark_port_cannot_hide_behind_one_that_is_down() -> None:
    with pytest.raises(FabricError, match="spark2 has no live"):
        planned(member(1, up="", down="01", heard=""), member(2, up="", heard=""))


# ---- addresses that somebody chose


def test_an_address_takes_its_link_along() -> None:
    plan = planned(member(1), member(2), addresses={"spark1": {"enP2p1s0f0np0": "10.9.8.7/28"}})
    assert ends(plan, "spark1") == [
        ("enp1s0f0np0", "192.168.100.10/24", "192.168.100.11"),
        ("enP2p1s0f0np0", "10.9.8.7/28", "10.9.8.11"),
    ]


@pytest.mark.parametrize(
    ("addresses", "words"),
    [
        ({"spark9": {}}, ["'spark9'", "spark1, spark2"]),
        ({"spark1": {"enP7s7": "10.1.1.1/24"}}, ["enP7s7 of spark1", "no ConnectX-7 netdev", "management"]),
        ({"spark1": {"enp1s0f0np0": "10.1.1.1"}}, ["no usable prefix length"]),
        ({"spark1": {"enp1s0f0np0": "10.1.1/24"}}, ["'10.1.1/24'", "is no address"]),
        ({"spark1": {"enp1s0f0np0": "192.168.1.99/24"}}, ["in use already on enP7s7 of spark1", "192.168.1.0/24"]),
        (
            {"spark1": {"enp1s0f0np0": "10.1.1.1/24"}, "spark2": {"enp1s0f0np0": "10.1.2.1/24"}},
            ["must be in one network"],
        ),
        ({"spark1": {"enp1s0f0np0": "10.1.1.11/24"}}, ["same address"]),
        (
            {"spark1": {"enp1s0f0np0": "10.1.1.1/24", "enP2p1s0f0np0": "10.1.1.2/24"}},
            ["would share the network 10.1.1.0/24"],
        ),
    ],
)
def test_addresses_that_cannot_be(addresses: dict, words: list[str]) -> None:
    with pytest.raises(FabricError) as refused:
        planned(member(1), member(2), addresses=addresses)
    assert [word for word in words if word not in str(refused.value)] == []


def claim(netdev: str, *addresses: str, mtu: int | None = None, path: str = "99-nvidia-sync-cluster.yaml") -> dict:
    return {
        "path": f"/etc/netplan/{path}",
        "netdev": netdev,
        "sets": [f"address {address}" for address in addresses],
        "addresses": list(addresses),
        "mtu": mtu,
    }


def synced(rank: int, *more: dict) -> dict:
    a, b = "enp1s0f0np0", "enP2p1s0f0np0"
    return {
        **member(rank),
        "netplan_conflicts": [
            claim(a, f"10.100.32.{rank}/24", mtu=9000),
            claim(b, f"10.100.33.{rank}/24", mtu=9000),
            *more,
        ],
    }


def test_what_nvidia_sync_addressed_is_adopted() -> None:
    plan = planned(synced(1), synced(2))
    assert [address for _netdev, address, _peer in ends(plan, "spark2")] == ["10.100.32.2/24", "10.100.33.2/24"]
    assert plan["mtu"] == 9000
    own = plan["hosts"]["spark1"]["netdevs"]["enp1s0f0np0"]
    assert (own["adopted"], own["mtu"]) == (True, None)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([synced(1), member(2)], ["NVIDIA Sync", "not spark2 enP2p1s0f0np0, spark2 enp1s0f0np0"]),
        (
            [synced(1, claim("enp1s0f1np1", path="60-mine.yaml") | {"sets": ["dhcp4: true"]}), synced(2)],
            ["spark1: /etc/netplan/60-mine.yaml configures enp1s0f1np1 too (dhcp4: true)", "move it out"],
        ),
        (
            [member(1) | {"netplan_conflicts": [claim("enp1s0f0np0", "10.0.0.1/24", "10.0.0.2/24")]}, member(2)],
            ["a part of the fabric"],
        ),
    ],
)
def test_other_tools_files_are_named(members: list[dict], words: list[str]) -> None:
    with pytest.raises(FabricError) as refused:
        planned(*members)
    assert [word for word in words if word not in str(refused.value)] == []


def test_a_profile_for_every_port_is_named_once() -> None:
    """iiab/iiab#4347: no port can be taken out of a profile that names none."""
    whole = [
        {**claim(netdev, path="90-NM-1.yaml"), "sets": ["dhcp4: true"], "every_port": "any port"}
        for netdev in ("enp1s0f0np0", "enP2p1s0f0np0", "enp1s0f1np1", "enP2p1s0f1np1")
    ]
    with pytest.raises(FabricError) as refused:
        planned(member(1) | {"netplan_conflicts": whole}, member(2))
    said = str(refused.value)
    assert said.count("90-NM-1.yaml") == 1
    assert "enp1s0f0np0, enP2p1s0f0np0, enp1s0f1np1, enP2p1s0f1np1 too (dhcp4: true)" in said
    assert "nmcli connection modify 'any port' connection.interface-name PORT" in said
    assert "out of it" not in said


@pytest.mark.parametrize(
    ("path", "renderer", "words", "others"),
    [
        ("/etc/netplan/60-x.yaml", "networkd", ["'match: {name: PORT}' in the file", "move it away"], ["nmcli"]),
        (
            "/etc/netplan/90-NM-1.yaml",
            "NetworkManager",
            ["nmcli connection modify 'Bob'\"'\"'s LAN' connection.interface-name PORT", "'match: {name: PORT}'"],
            [],
        ),
        (
            "/etc/NetworkManager/system-connections/x.nmconnection",
            "NetworkManager",
            [
                "nmcli connection modify 'Bob'\"'\"'s LAN' connection.interface-name PORT",
                "nmcli connection delete 'Bob'\"'\"'s LAN'",
            ],
            ["match:", "netplan"],
        ),
    ],
)
def test_the_mend_for_a_profile_of_every_port_is_one_for_its_renderer(
    path: str, renderer: str, words: list[str], others: list[str]
) -> None:
    one = {**claim("enp1s0f0np0"), "path": path, "sets": ["dhcp4: true"]}
    whole = [{**one, "every_port": "Bob's LAN", "renderer": renderer}]
    with pytest.raises(FabricError) as refused:
        planned(member(1) | {"netplan_conflicts": whole}, member(2))
    said = str(refused.value)
    assert [word for word in words if word not in said] == []
    assert [word for word in others if word in said] == []


def test_a_file_that_configures_other_ports_too_stays_where_it_is() -> None:
    one = {**claim("enp1s0f0np0", path="50-cloud-init.yaml"), "sets": ["dhcp4: true"], "shared": True}
    with pytest.raises(FabricError) as refused:
        planned(member(1) | {"netplan_conflicts": [one]}, member(2))
    said = str(refused.value)
    assert "50-cloud-init.yaml configures enp1s0f0np0 too (dhcp4: true): take enp1s0f0np0 out of it" in said
    assert "move it" not in said


def test_a_profile_of_networkmanager_is_not_in_etc_netplan() -> None:
    path = "/etc/NetworkManager/system-connections/Wired.nmconnection"
    own = [{**claim("enp1s0f0np0"), "path": path, "sets": ["dhcp4: true"]}]
    with pytest.raises(
        FabricError, match=rf"spark1: {path} configures enp1s0f0np0 too .*nmcli connection delete"
    ) as said:
        planned(member(1) | {"netplan_conflicts": own}, member(2))
    assert "/etc/netplan" not in str(said.value)


def test_etc_netplan_as_a_whole_is_never_moved_away() -> None:
    """A file that PyYAML cannot read and netplan can is not known by name."""
    whole = [{**claim("enp1s0f0np0"), "path": "/etc/netplan", "sets": ["dhcp4: true"]}]
    with pytest.raises(FabricError) as refused:
        planned(member(1) | {"netplan_conflicts": whole}, member(2))
    said = str(refused.value)
    assert "spark1: a file in /etc/netplan configures enp1s0f0np0 too (dhcp4: true): take enp1s0f0np0 out of it" in said
    assert "grep -r enp1s0f0np0 /etc/netplan" in said
    assert "move" not in said
    bond = [{**whole[0], "sets": ["a part of bond0"]}]
    with pytest.raises(FabricError, match="out of a file in /etc/netplan, which would do it again"):
        planned(bonded(1) | {"netplan_conflicts": bond}, member(2))


def test_files_that_netplan_refuses_stop_the_plan() -> None:
    problem = "netplan refuses the files of this host: /etc/netplan/70-x.yaml:1:1: Invalid YAML"
    with pytest.raises(FabricError, match=f"spark2: {problem}"):
        planned(member(1), member(2) | {"netplan_problem": problem})
    assert planned(member(1) | {"netplan_problem": problem})["topology"] == "single"


def bonded(rank: int, master: str = "bond0", count: int = 2) -> dict:
    """elizabetht/spark, infiniband-tutorial/02_Multi_Rail_Tutorial.md: both halves of cage 0 in a bond."""
    one = member(rank)
    for link in one["links"]:
        link["master"] = None
    for link in [link for link in one["links"] if link["physical_port"] == 0][:count]:
        link["master"] = master
    return one


def test_ports_in_a_bond_are_named() -> None:
    with pytest.raises(FabricError) as refused:
        planned(bonded(1), bonded(2, "br-lan", 1))
    said = str(refused.value)
    assert "spark1: enp1s0f0np0 and enP2p1s0f0np0 are in bond0: take them out" in said
    assert "sudo ip link set enp1s0f0np0 nomaster" in said
    assert "is in br-lan: take it out" in said
    assert "carrier" not in said
    whose = [{**claim("enp1s0f0np0", path="60-bond.yaml"), "sets": ["a part of bond0"]}]
    with pytest.raises(FabricError, match=r"out of /etc/netplan/60-bond\.yaml, which would do it again"):
        planned(bonded(1) | {"netplan_conflicts": whose}, member(2))
    assert planned(bonded(1, count=0), member(2))["topology"] == "direct"


def test_the_fabric_cannot_carry_its_own_management() -> None:
    one = member(1)
    one["host"] = "192.168.100.10"
    one["links"][0]["ipv4"] = ["192.168.100.10/24"]
    with pytest.raises(FabricError, match=r"spark1 is reached over the fabric itself .*ansible_host"):
        planned(one, member(2))


# ---- MTU and other ways to an address


def test_mtu_is_left_alone_on_a_switch() -> None:
    sparks = listened("1:0-2:0-3:0", 3)
    plan = planned(*sparks)
    assert plan["mtu"] == 1500
    assert plan["hosts"]["spark1"]["netdevs"]["enp1s0f0np0"]["mtu"] is None
    assert planned(*sparks, mtu=4200)["hosts"]["spark1"]["netdevs"]["enp1s0f0np0"]["mtu"] == 4200
    sparks[2]["links"][1]["mtu"] = 9000
    with pytest.raises(FabricError, match="spark3 enP2p1s0f0np0 9000"):
        planned(*sparks)


def test_an_mtu_that_this_role_set_stays_on_a_switch() -> None:
    """Without the line in the file the MTU would stay until a boot, and be another one after it."""
    sparks = listened("1:0-2:0-3:0", 3)
    for one in sparks:
        for link in one["links"]:
            link["mtu"] = 9000
    assert planned(*sparks)["hosts"]["spark1"]["netdevs"]["enp1s0f0np0"]["mtu"] is None, "somebody else's 9000"
    text = render({"enp1s0f0np0": {"mtu": 9000}})
    for content, kept in ((text, 9000), (text.replace("9000", "4200"), None), (text.partition("\n")[2], None)):
        sparks[0]["files"] = {"/etc/netplan/40-cx7.yaml": {"content": content}, "/etc/hosts": None}
        plan = planned(*sparks)
        assert (plan["hosts"]["spark1"]["netdevs"]["enp1s0f0np0"]["mtu"], plan["mtu"]) == (kept, 9000)


@pytest.mark.parametrize("renderer", ["networkd", "NetworkManager"])
def test_half_b_has_no_link_local_address_by_either_renderer(renderer: str) -> None:
    """netplan 1.1.2 hands NetworkManager method=link-local for 'link-local: []', too."""
    members = [member(1), member(2)]
    for one in members:
        one["netplan_renderers"] = {link["netdev"]: renderer for link in one["links"]}
        for number, link in enumerate(one["links"]):
            if link["carrier"]:
                link.update(ipv4=[f"169.254.{number}.1/16"], mtu=9000)
    plan = planned(*members, addressing="link_local")
    quiet = [netdev for netdev, wanted in plan["hosts"]["spark1"]["netdevs"].items() if wanted.get("quiet")]
    assert ("enP2p1s0f0np0" in quiet, "enp1s0f0np0" in quiet) == (renderer == "NetworkManager", False)
    assert find_drift(plan, members)["spark1"] == (["enP2p1s0f0np0"] if quiet else [])
    assert not any("quiet" in one for one in planned(*members)["hosts"]["spark1"]["netdevs"].values())


@pytest.mark.parametrize(
    ("addressing", "asking"), [("link_local", ["enp1s0f0np0"]), ("dhcp", ["enp1s0f0np0", "enP2p1s0f0np0"])]
)
def test_addresses_that_are_not_ours_are_taken_as_found(addressing: str, asking: list[str]) -> None:
    members = [member(1), member(2)]
    plan = planned(*members, addressing=addressing)
    assert plan["hosts"]["spark1"]["links"] == []
    assert plan["hosts"]["spark1"]["control_address"] == "192.168.1.21"
    assert [name for name, one in plan["hosts"]["spark1"]["netdevs"].items() if one["dynamic"]] == asking
    assert find_drift(plan, members)["spark1"] == asking
    for rank, one in enumerate(members):
        for link in one["links"][:2]:
            link["ipv4"] = [f"169.254.3.{rank}/16"]
    plan = planned(*members, addressing=addressing)
    assert plan["hosts"]["spark2"]["control_address"] == "169.254.3.1"
    assert [link["netdev"] for link in plan["hosts"]["spark2"]["links"]] == asking


def test_the_table() -> None:
    lines = describe(planned(member(1), member(2, up="1")))
    assert lines[0] == "direct fabric of 2, static addresses, packets of 9000 bytes"
    assert lines[1] == "control addresses: spark1 192.168.100.10, spark2 192.168.100.11"
    assert lines[3].split() == [
        "spark1",
        "0",
        "A",
        "enp1s0f0np0",
        "rocep1s0f0",
        "192.168.100.10/24",
        "spark2",
        "1",
        "192.168.100.11",
    ]
    assert "assumed until these are raised: spark1 enp1s0f0np0" in describe(planned(member(1, "", "01"), member(2)))[2]


# ---- any cabling at all


@given(
    cables=st.lists(
        st.tuples(st.tuples(st.integers(1, 4), st.integers(0, 1)), st.tuples(st.integers(1, 4), st.integers(0, 1))),
        max_size=6,
    ),
    count=st.integers(2, 4),
)
def test_any_cabling_is_planned_as_it_runs_or_refused(cables: list, count: int) -> None:
    used: set = set()
    real = []
    for one, other in cables:
        if one != other and not {one, other} & used and max(one[0], other[0]) <= count:
            used |= {one, other}
            real.append(f"{one[0]}:{one[1]}-{other[0]}:{other[1]}")
    try:
        plan = planned(*listened(" ".join(real), count))
    except FabricError:
        return
    pairs = {tuple(sorted(cable.split("-"))) for cable in real}
    assert {tuple(sorted(pair.replace("A", "").split("-"))) for pair in joined(plan) if "A" in pair} == pairs
    assert {rank for cable in real for rank in (cable[0], cable[4])} == {str(rank + 1) for rank in range(count)}


def test_a_third_spark_moves_nobody_s_addresses_between_the_first_two() -> None:
    for first, more in (("1:0-2:1", "2:0-3:1 3:0-1:1"), ("1:1-2:0", "1:0-3:0 2:1-3:1")):
        two, three = planned(*listened(first, 2)), planned(*listened(f"{first} {more}", 3))
        for name in two["hosts"]:
            assert {link["address"] for link in two["hosts"][name]["links"]} <= {
                link["address"] for link in three["hosts"][name]["links"]
            }
