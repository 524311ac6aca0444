# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What two sound Sparks tell of themselves, and one damage for each kind of anomaly."""

from __future__ import annotations

import copy
from typing import Any, Callable

NOW = 1796008365.0
LLM, VLM = "dgx-spark-trtllm", "dgx-spark-trtllm-vlm"
GATEWAY = "dgx-spark-gateway"
SPARKS = ("spark1", "spark2")
Members = dict[str, Any]


UNPLUGGED = {"carrier": False, "speed_mbps": None, "state": "down", "sent_bytes_s": 0.0, "received_bytes_s": 0.0}


def container(name: str, started: float = NOW - 7200, **more: Any) -> dict[str, Any]:
    return {
        "id": "0123456789ab",
        "name": name,
        "service": "",
        "state": "running",
        "health": "healthy",
        "started_at": started,
        "finished_at": None,
        "exit_status": 0,
        "oom_killed": False,
        "error": "",
        "image_id": "sha256:aa",
        "config": "c0ffee-aa",
        "repo": "nvidia/Qwen3-32B-FP4",
        "draft_repo": None,
        **more,
    }


def link(cage: int, function: int, **more: Any) -> dict[str, Any]:
    return {
        "netdev": f"enp{function}s0f{cage}np{cage}",
        "rdma_device": f"rocep{function}s0f{cage}",
        "physical_port": cage,
        "state": "up",
        "admin_up": True,
        "carrier": True,
        "speed_mbps": 200000,
        "mtu": 9000,
        "sent_bytes_s": 1.5e9,
        "received_bytes_s": 1.25e9,
        **more,
    }


def instance(name: str, rank: int, members: tuple[str, ...], launcher: str = "docker", **more: Any) -> dict[str, Any]:
    state: dict[str, Any] = {
        "at": NOW - 60,
        "phase": "listening",
        "reason": "",
    }
    if rank == 0:
        short = {one: {"transport": "IB", "devices": "rocep1s0f0", "why": ""} for one in members}
        state = {
            "at": NOW - 60,
            "phase": "serving",
            "reason": "",
            "began": NOW - 7200,
            "starts": 0,
            "model": "qwen3",
            "load_s": 95.2,
            "kv_tokens": 646272,
            "ranks": short if len(members) > 1 else {},
        }
    return {
        "name": name,
        "engine": "trtllm",
        "instance": name.partition("trtllm")[2].lstrip("-"),
        "leader": members[0],
        "rank": rank,
        "launcher": launcher,
        "api_listen": "0.0.0.0:8355",
        "phase": state["phase"],
        "cluster": {
            "nodes": [{"name": one, "address": f"192.168.100.{1 + n}"} for n, one in enumerate(members)],
            "netdevs": ["enp1s0f0np0"],
            "api_probe": "127.0.0.1:8355",
            "limits": {"require_rdma": True, "memory_floor_mib": 8192},
        },
        "node": {
            "name": members[rank],
            "rank": rank,
            "address": f"192.168.100.{1 + rank}",
            "rdma_devices": ["rocep1s0f0"] if len(members) > 1 else [],
        },
        "state": state,
        "cluster_digest": "d1" * 32,
        "commit": "0123abc",
        "draft_commit": None,
        "problem": "",
        **more,
    }


def spark(name: str, instances: list[dict[str, Any]], **read: Any) -> dict[str, Any]:
    names = [one["name"] for one in instances]
    unit = {"active": "active", "sub": "running", "result": "success", "enabled": "enabled", "restarts": 0}
    return {
        "changed": False,
        "at": NOW,
        "unread": {},
        "read": {
            "machine": {
                "hostname": name,
                "kernel": "6.11.0-1016-nvidia",
                "up_s": 90000.5,
                "memory": {"total_mib": 122572, "available_mib": 30000, "swap_used_mib": 0},
            },
            "gpus": [
                {
                    "name": "NVIDIA GB10",
                    "driver": "580.95.05",
                    "temperature_c": 58.0,
                    "power_w": 62.5,
                    "clock_mhz": 2400.0,
                    "clock_max_mhz": 3003.0,
                    "used": 0.96,
                    "pstate": "P0",
                }
            ],
            "links": [link(0, 1), link(1, 1, **UNPLUGGED)],
            "instances": instances,
            "docker": {
                "version": "28.3.3",
                "containers": {one: [container(one)] for one in names},
                "images": {
                    "sha256:aa": {
                        "name": "dgx-spark/trtllm-serve:0123",
                        "id": "sha256:aa",
                        "digest": "",
                        "base": "nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13",
                        "base_digest": "sha256:bb",
                    }
                },
                "swarm": {"state": "inactive", "error": "", "manager": False, "nodes": [], "refused": {}},
            },
            "units": {f"{one}.service": {**unit, "age_s": 7200.0} for one in names},
            **read,
        },
    }


def gateway() -> dict[str, Any]:
    """A gateway that two clients asked, and one without a key."""
    nothing = dict.fromkeys(("prompt_tokens", "tokens", "ttft_ms", "slowest_ttft_ms"))
    counts = {"requests": 12, "refused": 1, "failed": 0, "cut": 0, "left": 1}
    figures = {"prompt_tokens": 700, "tokens": 12345, "ttft_ms": 180, "slowest_ttft_ms": 950}
    refused = {"requests": 3, "refused": 3, "failed": 0, "cut": 0, "left": 0, **nothing}
    return {
        "name": GATEWAY,
        "instance": "",
        "listens": "0.0.0.0:443",
        "problem": "",
        "all": True,
        "clients": {
            "alice": {"last_at": NOW - 5, **counts, **figures},
            "batch": {"last_at": NOW - 900, **counts, **nothing},
            "-": {"last_at": NOW - 60, **refused},
        },
    }


def pair() -> Members:
    """A model on two Sparks with a gateway, and another model on the first of them alone, by systemd."""
    members = {
        "spark1": spark("spark1", [instance(LLM, 0, SPARKS), instance(VLM, 0, ("spark1",))], gateways=[gateway()]),
        "spark2": spark("spark2", [instance(LLM, 1, SPARKS)], gateways=[]),
    }
    units = members["spark1"]["read"]["units"]
    units[f"{GATEWAY}.service"] = {**units[f"{LLM}.service"]}
    return members


def by_swarm() -> Members:
    """A model on two Sparks by Docker Swarm."""
    members = {name: spark(name, [instance(LLM, rank, SPARKS, "swarm")]) for rank, name in enumerate(SPARKS)}
    nodes = [
        {
            "hostname": name,
            "state": "ready",
            "message": "",
            "availability": "active",
            "leader": name == "spark1",
            "rank": rank,
        }
        for rank, name in enumerate(SPARKS)
    ]
    for name, one in members.items():
        swarm = one["read"]["docker"]["swarm"]
        swarm.update(state="active", manager=name == "spark1", nodes=nodes if name == "spark1" else [])
        swarm["refused"] = {LLM: []} if name == "spark1" else {}
        one["read"]["units"] = {}
    return members


def at(value: Any, *path: Any) -> Any:
    for step in path:
        value = value[step]
    return value


def put(*path: Any, start: Callable[[], Members] = pair, **values: Any) -> Callable[[], Members]:
    """Sound Sparks of which the mapping at a path has other values."""

    def make() -> Members:
        members = copy.deepcopy(start())
        at(members, *path).update(values)
        return members

    return make


def state(phase: str, reason: str = "", **more: Any) -> Callable[[], Members]:
    return put("spark1", "read", "instances", 0, "state", phase=phase, reason=reason, **more)


def gone(*path: Any, start: Callable[[], Members] = pair) -> Callable[[], Members]:
    def make() -> Members:
        members = copy.deepcopy(start())
        del at(members, *path[:-1])[path[-1]]
        return members

    return make


def unread(host: str, part: str, why: str) -> Callable[[], Members]:
    def make() -> Members:
        members = copy.deepcopy(pair())
        del members[host]["read"][part]
        members[host]["unread"][part] = why
        return members

    return make


def replaced(host: str, value: Any) -> Callable[[], Members]:
    return lambda: {**copy.deepcopy(pair()), host: value}


def on_tcp(*, required: bool) -> Callable[[], Members]:
    def make() -> Members:
        members = copy.deepcopy(pair())
        for one in members.values():
            one["read"]["instances"][0]["cluster"]["limits"]["require_rdma"] = required
        ranks = members["spark1"]["read"]["instances"][0]["state"]["ranks"]
        ranks["spark2"] = {"transport": "Socket", "devices": "enP7s7", "why": ""}
        return members

    return make


FIRST, SECOND = ("spark1", "read"), ("spark2", "read")
ENDED = {"state": "exited", "exit_status": 137, "health": ""}
#: by kind what makes it, on which host it is to be told, and a word of it
CASES: dict[str, tuple[Callable[[], Members], str, str]] = {
    "host_unreachable": (
        replaced("spark2", {"unreachable": True, "msg": "Task failed: No route to host"}),
        "spark2",
        "No route to host",
    ),
    "host_not_read": (
        replaced("spark2", {"failed": False, "msg": "No start of json char found", "module_stderr": "no python3"}),
        "spark2",
        "no python3",
    ),
    "gave_up": (state("gave up", "5 starts failed"), "spark1", "5 starts failed"),
    "start_failed": (state("failed", "no memory"), "spark1", "no memory"),
    "rank_down": (put(*SECOND, "docker", "containers", LLM, 0, **ENDED), "spark2", "exited (137)"),
    "rank_unconfigured": (gone(*SECOND, "instances", 0), "spark2", "rank 1 is not configured"),
    "never_started": (put(*FIRST, "instances", 0, state={}), "spark1", "it has not started"),
    "unit_failed": (
        put(*SECOND, "units", f"{LLM}.service", active="failed", result="exit-code"),
        "spark2",
        "exit-code",
    ),
    "swarm_inactive": (
        put(*SECOND, "docker", "swarm", start=by_swarm, state="pending", error="no manager"),
        "spark2",
        "no manager",
    ),
    "swarm_node_down": (
        put(*FIRST, "docker", "swarm", "nodes", 1, start=by_swarm, state="down"),
        "spark2",
        "node is down",
    ),
    "swarm_refuses": (
        put(*FIRST, "docker", "swarm", "refused", start=by_swarm, **{LLM: ["worker is pending: no suitable node"]}),
        "spark1",
        "no suitable node",
    ),
    "gateway_down": (
        put("spark1", "read", "units", f"{GATEWAY}.service", active="failed"),
        "spark1",
        "its unit is failed: nobody answers on 0.0.0.0:443",
    ),
    "docker_silent": (unread("spark2", "docker", "Connection refused"), "spark2", "Connection refused"),
    "gpu_failed": (unread("spark2", "gpus", "a GPU has fallen off the bus: reboot"), "spark2", "fallen off"),
    "link_down": (put(*SECOND, "links", 0, carrier=False), "spark2", "enp1s0f0np0 has no carrier"),
    "rdma_device_missing": (gone(*SECOND, "links", 0), "spark2", "no RDMA device rocep1s0f0"),
    "rank_without_rdma": (on_tcp(required=True), "spark2", "Socket"),
    "configs_differ": (put(*SECOND, "docker", "containers", LLM, 0, config="0ther-aa"), "", "unlike"),
    "memory_low": (put(*SECOND, "machine", "memory", available_mib=5000), "spark2", "5000 MiB"),
    "waiting": (state("waiting", "spark2 does not answer"), "spark1", "spark2 does not answer"),
    "rank_unhealthy": (put(*SECOND, "docker", "containers", LLM, 0, health="unhealthy"), "spark2", "unhealthy"),
    "rank_on_tcp": (on_tcp(required=False), "spark2", "Socket"),
    "restarted": (
        put("spark2", "read", start=lambda: restarted(), at=None),
        "spark2",
        "started again 3 times, last 5 min ago",
    ),
    "gpu_hot": (put(*SECOND, "gpus", 0, temperature_c=88.0), "spark2", "88 C"),
    "gpu_spinning": (put(*SECOND, "gpus", 0, power_w=21.0), "spark2", "96% of the time, with 21 W"),
    "unit_disabled": (put(*SECOND, "units", f"{LLM}.service", enabled="disabled"), "spark2", "disabled"),
    "swarm_node_drained": (
        put(*FIRST, "docker", "swarm", "nodes", 1, start=by_swarm, availability="drain"),
        "spark2",
        "drain",
    ),
    "links_unlike": (put(*SECOND, "links", 0, mtu=1500), "", "MTU: spark1 enp1s0f0np0 9000, spark2 enp1s0f0np0 1500"),
    "drivers_differ": (put(*SECOND, "gpus", 0, driver="580.142"), "", "spark2 580.142"),
    "files_not_read": (
        put(*SECOND, "instances", 0, problem="state.json cannot be read: Permission denied"),
        "spark2",
        "Permission denied",
    ),
    "gateway_uncounted": (
        put("spark1", "read", "gateways", 0, clients=None, all=False, problem="this user may not read the journal"),
        "spark1",
        "may not read the journal",
    ),
    "part_not_read": (unread("spark2", "units", "systemctl did not end within 8 s"), "spark2", "did not end"),
    "starting": (state("starting", "loads weights", starts=3), "spark1", "start 3"),
    "canary_unsure": (state("serving", "busy: tokens flow"), "spark1", "busy"),
    "start_slower": (
        state("serving", receipt={"first_token_s": 200}, last_receipt={"first_token_s": 95.5}),
        "spark1",
        "200 s to the first token, and the one before 96 s",
    ),
    "stopped": (lambda: stopped(), "spark1", "it is stopped"),
    "rank_elsewhere": (gone("spark2"), "spark2", "rank 1 was not asked"),
    "nothing_served": (
        lambda: {name: spark(name, []) for name in SPARKS},
        "",
        "no model is configured",
    ),
}


def restarted() -> Members:
    members = copy.deepcopy(pair())
    read = members["spark2"]["read"]
    read["units"][f"{LLM}.service"].update(restarts=3, age_s=300.0)
    read["docker"]["containers"][LLM][0]["started_at"] = NOW - 300
    return members


def stopped() -> Members:
    """The model on both Sparks was asked to end."""
    members = copy.deepcopy(pair())
    members["spark1"]["read"]["instances"][0]["state"].update(phase="stopped", reason="asked to end")
    for one in members.values():
        one["read"]["docker"]["containers"][LLM][0].update(state="exited", exit_status=143, health="")
        one["read"]["units"][f"{LLM}.service"].update(active="inactive", age_s=None)
    return members
