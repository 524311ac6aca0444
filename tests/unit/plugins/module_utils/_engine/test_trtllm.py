# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the serving containers are told, and what is refused before they start."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trtllm

REPO = "/home/nvidia/.cache/huggingface/hub/models--lab--tiny"
LIMITS = {"interval_s": 15}


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
    wanted = {
        "members": ["spark1", "spark2"],
        "fabric": FABRIC,
        "snapshot": f"{REPO}/snapshots/abc",
        "repo_dir": REPO,
        "options": {"print_iter_log": False, "kv_cache_config": {"dtype": "auto", "free_gpu_memory_fraction": 0.8}},
        "arguments": {"tp_size": 2, "max_batch_size": 4},
        "api_host": "127.0.0.1",
        "api_port": 8355,
        "ssh_port": 2233,
        "limits": LIMITS,
    }
    return trtllm.plan(**{**wanted, **changes})


def test_two_sparks() -> None:
    cluster, nodes = planned()
    assert cluster["serve"] == [
        *("trtllm-serve", "/models/snapshots/abc", "--max_batch_size", "4", "--tp_size", "2"),
        *("--host", "127.0.0.1", "--port", "8355"),
        *("--extra_llm_api_options", "/etc/dgx-spark/trtllm/llm.yml"),
    ]
    assert cluster["subnets"] == ["192.168.100.0/24"]
    assert nodes["spark2"]["rank"] == 1
    assert nodes["spark2"]["environment"] == {
        "PMIX_HOSTNAME": "spark2",
        "NCCL_IB_HCA": "rocep1s0f0,roceP2p1s0f0",
        "NCCL_SOCKET_IFNAME": "enp1s0f0np0",
        "UCX_NET_DEVICES": "enp1s0f0np0,enP2p1s0f0np0",
    }


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
    cluster, nodes = planned(fabric=beside)
    assert cluster["subnets"] == ["10.0.0.0/8"]
    assert cluster["nodes"][1] == {"name": "spark2", "address": "10.0.0.2"}
    assert nodes["spark2"]["environment"] == {
        "PMIX_HOSTNAME": "spark2",
        "NCCL_IB_HCA": "rocep1s0f0,roceP2p1s0f0",
        "NCCL_IB_SUBNET_AWARE_ROUTING": "1",
        "NCCL_NET_PLUGIN": "none",
        "NCCL_SOCKET_IFNAME": "enP7s7",
        "UCX_NET_DEVICES": "enP7s7",
    }


def test_an_inventory_of_addresses_is_told_apart() -> None:
    fabric = {f"192.168.1.2{number}": FABRIC[f"spark{number}"] for number in (1, 2)}
    _cluster, nodes = planned(members=list(fabric), fabric=fabric)
    assert [node["environment"]["PMIX_HOSTNAME"] for node in nodes.values()] == ["192-168-1-21", "192-168-1-22"]
    ranks = {"192-168-1-21": IB, "192-168-1-22": IB}
    assert trtllm.judge({"config": "a", "phase": "serving", "ranks": ranks}, "a", list(fabric), True) == (True, [])


def test_a_device_on_a_switch_is_named_once() -> None:
    twice = {name: {**one, "links": one["links"] * 2} for name, one in FABRIC.items()}
    assert planned(fabric=twice)[1] == planned()[1]


def test_no_gid_index_and_no_token_ever() -> None:
    cluster, nodes = planned()
    names = {*cluster["environment"], *(name for one in nodes.values() for name in one["environment"])}
    assert not names & {"NCCL_IB_GID_INDEX", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}


def test_a_single_spark_needs_no_fabric() -> None:
    cluster, nodes = planned(members=["spark1"], fabric={}, arguments={"tp_size": 1})
    assert cluster["subnets"] == []
    assert nodes["spark1"]["environment"] == {"PMIX_HOSTNAME": "spark1"}


@pytest.mark.parametrize(
    ("config", "told"), [(None, False), ({"model_type": "llama"}, False), ({"model_type": "gpt_oss"}, True)]
)
def test_gpt_oss_is_told_where_its_vocabularies_are(config: dict[str, Any] | None, told: bool) -> None:
    assert ("TIKTOKEN_ENCODINGS_BASE" in planned(config=config)[0]["environment"]) == told


def test_an_api_on_all_addresses_is_probed_on_loopback() -> None:
    assert planned(api_host="0.0.0.0")[0]["api_probe"] == "127.0.0.1:8355"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"members": []}, "no node to serve on"),
        ({"options": {"print_iter_logs": True}}, r"print_iter_logs is no key .* did you mean print_iter_log\?"),
        ({"options": {"kv_cache_config": {"dtypes": "auto"}}}, r"did you mean kv_cache_config.dtype\?"),
        ({"arguments": {"tp_size": 4}}, "tp_size x pp_size x cp_size is 4, but there are 2 Sparks"),
        ({"snapshot": "/elsewhere/abc"}, "is not below"),
        (
            {"model_bytes": 250 * 10**9, "memory_reserve_mib": 6144, "memory_mib": 122_000},
            "a rank needs 125354 MiB, 119210 for its share .* has 122000 in all: choose a smaller model",
        ),
        ({"api_host": "spark1"}, "cannot listen on 'spark1'"),
        ({"api_host": "::1"}, "give an IPv4 address"),
        ({"api_port": 99999}, "no port 99999"),
        ({"members": ["spark1", "spark1.example.org"]}, "spark1 and spark1.example.org are both spark1 to MPI"),
        ({"fabric": {"spark1": FABRIC["spark1"]}}, "no control address is planned for spark2"),
        (
            {"fabric": {name: {**one, "links": []} for name, one in FABRIC.items()}},
            "network of the control address",
        ),
    ],
)
def test_what_would_fail_later_is_refused_now(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(trtllm.ServeError, match=says):
        planned(**changes)


@pytest.mark.parametrize("memory", [0, 70_041])
def test_a_model_that_fits_is_planned(memory: int) -> None:
    cluster, _nodes = planned(model_bytes=134 * 10**9, memory_reserve_mib=6144, memory_mib=memory)
    assert cluster["limits"]["memory_need_mib"] == 70_041


def test_the_digest_follows_the_content_alone() -> None:
    assert trtllm.digest({"a": 1, "b": 2}) == trtllm.digest({"b": 2, "a": 1})
    assert trtllm.digest({"a": 1}) != trtllm.digest({"a": 2})


IB, TCP = {"transport": "IB", "devices": "[0]rocep1s0f0:1/RoCE"}, {"transport": "Socket", "devices": "[0]enp1s0f0np0"}


@pytest.mark.parametrize(
    ("state", "settled", "says"),
    [
        ({}, False, ["have not started"]),
        ({"config": "old", "phase": "serving"}, False, ["have not started"]),
        (
            {"config": "new", "phase": "waiting", "reason": "spark2 does not answer"},
            False,
            ["waiting: spark2 does not"],
        ),
        ({"config": "new", "phase": "failed", "reason": "mpirun ended"}, False, ["failed: mpirun ended"]),
        ({"config": "new", "phase": "gave up", "reason": "5 starts failed"}, True, ["gave up: 5 starts failed"]),
        ({"config": "new", "phase": "serving", "ranks": {"spark1": IB, "spark2": IB}}, True, []),
        (
            {"config": "new", "phase": "serving", "ranks": {"spark1": IB, "spark2": TCP}},
            True,
            ["rank 1 on spark2.*Socket"],
        ),
        ({"config": "new", "phase": "serving", "ranks": {"spark2": IB}}, True, ["rank 0 on spark1: NCCL named no"]),
    ],
)
def test_judge(state: dict[str, Any], settled: bool, says: list[str]) -> None:
    found, problems = trtllm.judge(state, "new", ["spark1", "spark2"], require_rdma=True)
    assert found == settled
    assert len(problems) == len(says)
    assert all(re.search(pattern, problem) for pattern, problem in zip(says, problems))


def test_without_a_fabric_no_rdma_is_asked_for() -> None:
    state = {"config": "new", "phase": "serving", "ranks": {}}
    assert trtllm.judge(state, "new", ["spark1"], require_rdma=False) == (True, [])


NO_IMAGE = {
    "name": "t_worker",
    "node": "spark2",
    "state": "rejected",
    "wanted": "shutdown",
    "error": "No such image",
    "at": 8,
}


@pytest.mark.parametrize(
    ("tasks", "says"),
    [
        ([NO_IMAGE, {**NO_IMAGE, "at": 13}], ["t_worker on spark2 is rejected: No such image"]),
        ([NO_IMAGE], []),
        ([{**NO_IMAGE, "at": 1}, {**NO_IMAGE, "at": 4}], []),
        ([{**NO_IMAGE, "state": "failed"}, {**NO_IMAGE, "state": "failed"}], []),
        ([{**NO_IMAGE, "state": "pending", "wanted": "running", "at": 30}], []),
        ([{**NO_IMAGE, "state": "pending", "wanted": "shutdown", "at": 5}], []),
    ],
    ids=["again and again", "once", "long ago", "the supervisor counts these", "just now", "is not wanted any more"],
)
def test_tasks_that_cannot_start(tasks: list[dict[str, Any]], says: list[str]) -> None:
    assert trtllm.stuck(tasks, since=5, now=40) == says


def test_a_model_that_cannot_be_split_is_refused() -> None:
    planned(config={"num_attention_heads": 64})
    with pytest.raises(trtllm.ServeError, match="tp_size 2 does not divide the 25 attention heads"):
        planned(config={"num_attention_heads": 25})
