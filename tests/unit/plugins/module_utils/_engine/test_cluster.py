# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all nodes of a cluster are told, and what each node is told."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import cluster

ENGINE = {
    "settings": {"name": "trtllm"},
    "serve": ["trtllm-serve", "/models/snapshots/abc"],
    "environment": {"NCCL_DEBUG": "INFO"},
}
FABRIC = {
    f"spark{number}": {
        "control_address": f"192.168.100.{number}",
        "links": [
            {"netdev": "enp1s0f0np0", "rdma_device": "rocep1s0f0", "address": f"192.168.100.{number}/24"},
            {"netdev": "enP2p1s0f0np0", "rdma_device": "roceP2p1s0f0", "address": f"192.168.101.{number}/24"},
        ],
    }
    for number in (1, 2)
}


def planned(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    wanted = {"members": ["spark1", "spark2"], "engine": ENGINE, "fabric": FABRIC, "limits": {"interval_s": 15}}
    return cluster.plan(cluster.Request(**{**wanted, **changes}))


def test_two_sparks() -> None:
    told, nodes = planned()
    assert told["serve"] == ENGINE["serve"]
    assert told["engine"] == {"name": "trtllm"}
    assert (told["subnets"], told["netdevs"]) == (["192.168.100.0/24"], ["enp1s0f0np0"])
    assert nodes["spark2"]["rank"] == 1
    assert nodes["spark2"]["environment"] == {
        "PMIX_HOSTNAME": "spark2",
        "NCCL_IB_HCA": "=rocep1s0f0,roceP2p1s0f0",
        "NCCL_SOCKET_IFNAME": "enp1s0f0np0",
        "UCX_NET_DEVICES": "enp1s0f0np0,enP2p1s0f0np0",
    }


def test_nccl_itself_fails_without_rdma_where_it_is_required() -> None:
    for required in (True, False):
        told, nodes = planned(limits={"require_rdma": required})
        assert told["limits"]["require_rdma"] == required
        assert [one["environment"].get("NCCL_NET") for one in nodes.values()] == ["IB" if required else None] * 2
        assert nodes["spark2"]["rdma_devices"] == ["rocep1s0f0", "roceP2p1s0f0"]
    _told, alone = planned(members=["spark1"], limits={"require_rdma": True})
    assert alone["spark1"]["rdma_devices"] == []
    assert "NCCL_NET" not in alone["spark1"]["environment"]


def test_a_ring_is_controlled_beside_the_fabric() -> None:
    """No network of it reaches all, so MPI and NCCL's first words take the management network."""
    beside = {
        name: {
            **one,
            "control_address": f"10.0.0.{name[-1]}",
            "control_netdev": "enP7s7",
            "control_network": "10.0.0.0/8",
        }
        for name, one in FABRIC.items()
    }
    told, nodes = planned(fabric=beside)
    assert (told["subnets"], told["netdevs"]) == (["10.0.0.0/8"], ["enP7s7"])
    assert told["nodes"][1] == {"name": "spark2", "address": "10.0.0.2"}
    assert nodes["spark2"]["environment"] == {
        "PMIX_HOSTNAME": "spark2",
        "NCCL_IB_HCA": "=rocep1s0f0,roceP2p1s0f0",
        "NCCL_IB_SUBNET_AWARE_ROUTING": "1",
        "NCCL_NET_PLUGIN": "none",
        "NCCL_SOCKET_IFNAME": "enP7s7",
        "UCX_NET_DEVICES": "enP7s7",
    }


def test_an_inventory_of_addresses_is_told_apart() -> None:
    fabric = {f"192.168.1.2{number}": FABRIC[f"spark{number}"] for number in (1, 2)}
    _told, nodes = planned(members=list(fabric), fabric=fabric)
    assert [node["environment"]["PMIX_HOSTNAME"] for node in nodes.values()] == ["192-168-1-21", "192-168-1-22"]


def test_names_with_underscores_are_names_of_hosts_to_mpi() -> None:
    fabric = {f"dgx_{number}": FABRIC[f"spark{number}"] for number in (1, 2)}
    _told, nodes = planned(members=list(fabric), fabric=fabric)
    assert [node["environment"]["PMIX_HOSTNAME"] for node in nodes.values()] == ["dgx-1", "dgx-2"]


def test_the_netdevs_of_all_nodes_are_named_whichever_cage_the_cable_is_in() -> None:
    moved = [{**FABRIC["spark2"]["links"][0], "netdev": "enp1s0f1np1", "rdma_device": "rocep1s0f1"}]
    fabric = {"spark1": FABRIC["spark1"], "spark2": {**FABRIC["spark2"], "links": moved}}
    told, nodes = planned(fabric=fabric)
    assert told["netdevs"] == ["enp1s0f0np0", "enp1s0f1np1"]
    assert nodes["spark2"]["environment"]["NCCL_SOCKET_IFNAME"] == "enp1s0f1np1"


def test_an_address_is_one_without_its_network() -> None:
    """sshd refuses a whole list of authorized addresses for one with host bits set."""
    fabric = {name: {**one, "control_address": f"{one['control_address']}/24"} for name, one in FABRIC.items()}
    assert planned(fabric=fabric) == planned()


def test_a_device_on_a_switch_is_named_once() -> None:
    twice = {name: {**one, "links": one["links"] * 2} for name, one in FABRIC.items()}
    assert planned(fabric=twice)[1] == planned()[1]


def test_no_gid_index_and_no_token_ever() -> None:
    told, nodes = planned()
    names = {*told["environment"], *(name for one in nodes.values() for name in one["environment"])}
    assert not names & {"NCCL_IB_GID_INDEX", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}


def test_a_single_spark_needs_no_fabric() -> None:
    told, nodes = planned(members=["spark1"], fabric={})
    assert (told["subnets"], told["netdevs"]) == ([], [])
    assert nodes["spark1"]["environment"] == {"PMIX_HOSTNAME": "spark1"}


def test_an_api_on_all_addresses_is_probed_on_loopback() -> None:
    assert planned(api_host="0.0.0.0")[0]["api_probe"] == "127.0.0.1:8355"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"members": []}, "no node to serve on"),
        ({"api_port": 99999}, "no port 99999"),
        ({"members": ["spark1", "spark1.example.org"]}, "spark1 and spark1.example.org are both spark1 to MPI"),
        ({"members": ["dgx_1", "dgx-1"]}, "dgx_1 and dgx-1 are both dgx-1 to MPI"),
        ({"members": ["x", "spark1.a", "SPARK1.b"]}, "spark1.a and SPARK1.b are both spark1 to MPI"),
        ({"members": ["localhost", "spark2"]}, "localhost cannot be a node's name to MPI: .*loopback name.* inventory"),
        ({"members": ["spark1", "slots"]}, "slots cannot be a node's name to MPI: .*keyword"),
        ({"members": ["spark1", "spark 2"]}, "spark 2 cannot be a node's name to MPI: .*malformed"),
        ({"fabric": {"spark1": FABRIC["spark1"]}}, "no control address is planned for spark2"),
        ({"fabric": dict.fromkeys(FABRIC)}, "no control address is planned for spark1, spark2"),
        (
            {"fabric": {**FABRIC, "spark2": {**FABRIC["spark2"], "control_address": "spark2"}}},
            "'spark2' is no IP address",
        ),
        (
            {"fabric": {name: {**one, "links": None} for name, one in FABRIC.items()}},
            "links of spark1 is None and no list; links of spark2 is None and no list: give engine_serve_fabric as",
        ),
        (
            {"fabric": {name: {**one, "links": []} for name, one in FABRIC.items()}},
            "netdev and network of the control address",
        ),
    ],
)
def test_what_would_fail_later_is_refused_now(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(cluster.ServeError, match=says):
        planned(**changes)


def test_what_a_rank_needs_of_its_nodes_memory() -> None:
    assert planned(model_bytes=134 * 10**9, memory_reserve_mib=6144)[0]["limits"]["memory_need_mib"] == 70_041


@pytest.mark.parametrize("memory", [0, 70_041])
def test_a_spark_that_is_large_enough_is_no_problem(memory: int) -> None:
    assert cluster.memory_problem(memory, 70_041, 6144) == ""


def test_a_spark_that_is_too_small_is_one() -> None:
    said = cluster.memory_problem(122_880, 125_354, 6144)
    assert said.startswith("a rank needs 125354 MiB, 119210 for its share of the weights and 6144 beside them")
    assert "has 122880 in all: choose a smaller model" in said


@pytest.mark.parametrize(("memory", "fits"), [(61_440, True), (50_000, False)])
def test_what_is_kept_beside_the_weights_is_scaled_to_the_spark(memory: int, fits: bool) -> None:
    """45000 MiB of weights: 12288 more are needed on a Spark of 64 GB, half of what one of 128 GB keeps."""
    said = cluster.memory_problem(memory, 45_000 + 24_576, 24_576)
    assert not said if fits else said.startswith("a rank needs 55000 MiB, 45000 for its share of the weights and 10000")


@pytest.mark.parametrize(("asked", "seconds"), [(0, 4940), (1800, 1800)])
def test_a_load_may_take_an_hour_and_more_by_its_size(asked: int, seconds: int) -> None:
    limits = planned(model_bytes=134 * 10**9, limits={"load_timeout_s": asked})[0]["limits"]
    assert limits["load_timeout_s"] == seconds


def test_the_digest_follows_the_content_alone() -> None:
    assert cluster.digest({"a": 1, "b": 2}) == cluster.digest({"b": 2, "a": 1})
    assert cluster.digest({"a": 1}) != cluster.digest({"a": 2})
