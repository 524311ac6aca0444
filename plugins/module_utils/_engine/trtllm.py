# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan how TensorRT-LLM serves one model on 1..N Sparks: what every container is told. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections import Counter
from typing import Any, List, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_options import (
    check_arguments,
    check_options,
    era_of,
    render,
    size,
    version_of,
)

MODEL = "/models"  # where a container finds the model's repository directory of the cache

#: environment that is equal on all ranks; mpirun carries it
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": "/run/dgx-spark/huggingface",
    "HF_MODULES_CACHE": "/run/dgx-spark/huggingface/modules",
    "NCCL_DEBUG": "INFO",  # its lines are how RDMA is proven
    "CPATH": "/usr/local/cuda/include",
    "TRITON_PTXAS_PATH": "/usr/local/cuda/bin/ptxas",
}

#: beside that, where gpt-oss keeps the vocabularies that it chats by: its repository has none, and openai-harmony would
#: download them at every start
HARMONY = {"TIKTOKEN_ENCODINGS_BASE": "/var/lib/dgx-spark/trtllm"}

#: beside that, where no network of the fabric reaches all: NVIDIA's recipe for a ring
RING = {"NCCL_IB_SUBNET_AWARE_ROUTING": "1", "NCCL_NET_PLUGIN": "none"}

Problems = List[str]


class ServeError(ValueError):
    """The model cannot be served as asked; the message says why and what to change."""


def short(name: str) -> str:
    """The name that a node has to MPI, as the serving containers' program makes it.

    >>> short("spark1.example.org"), short("192.168.1.21")
    ('spark1', '192-168-1-21')
    """
    return name.replace(".", "-") if name.replace(".", "").isdigit() else name.split(".")[0]


def nodes_of(members: Sequence[str], fabric: dict[str, Any]) -> list[dict[str, Any]]:
    """Name, control address and links of each member; a Spark that is alone talks to itself."""
    if len(members) == 1:
        return [{"name": members[0], "address": "127.0.0.1", "network": "", "links": []}]
    twins = [name for name in members if [short(other) for other in members].count(short(name)) > 1]
    if twins:
        raise ServeError(f"{' and '.join(twins)} are both {short(twins[0])} to MPI: give one another name")
    missing = [name for name in members if not fabric.get(name, {}).get("control_address")]
    if missing:
        raise ServeError(
            f"no control address is planned for {', '.join(missing)}: run cx7_network on all of them first"
        )
    nodes = [{"name": name, **control(fabric[name]), "links": fabric[name].get("links", [])} for name in members]
    lost = [f"{node['name']} ({node['address']})" for node in nodes if not node["network"]]
    if lost:
        raise ServeError(
            f"nothing tells the network of the control address of {', '.join(lost)}: run cx7_network, or give "
            "control_netdev and control_network in trtllm_serve_fabric"
        )
    return nodes


def control(host: dict[str, Any]) -> dict[str, Any]:
    """Where MPI reaches a node: ``address``, ``netdev``, ``network`` in CIDR notation, and whether the fabric has it.

    :param host: ``control_address`` and ``links``; unless one of these has that address, ``control_netdev`` and
        ``control_network``: on a ring no network of the fabric reaches all.
    """
    address = ipaddress.ip_address(host["control_address"])
    for link in host.get("links", []):
        interface = ipaddress.ip_interface(link["address"])
        if interface.ip == address:
            netdev, network = link["netdev"], str(interface.network)
            return {"address": str(address), "netdev": netdev, "network": network, "on_fabric": True}
    return {
        "address": str(address),
        "netdev": host.get("control_netdev"),
        "network": host.get("control_network"),
        "on_fabric": False,
    }


def node_environment(node: dict[str, Any]) -> dict[str, str]:
    """What differs from node to node: its RoCE devices, its netdevs, its short name."""
    environment = {"PMIX_HOSTNAME": short(node["name"])}
    links = node.get("links", [])
    if links:
        # On a switch a device has a link to every peer.
        environment.update(
            NCCL_IB_HCA=",".join(dict.fromkeys(link["rdma_device"] for link in links)),
            NCCL_SOCKET_IFNAME=node["netdev"],
            UCX_NET_DEVICES=",".join(dict.fromkeys(link["netdev"] for link in links)),
        )
        if not node["on_fabric"]:
            environment.update(RING, UCX_NET_DEVICES=node["netdev"])
    return environment


def subnets_of(nodes: Sequence[dict[str, Any]]) -> list[str]:
    """The networks of the control addresses: where MPI may talk. Empty for a single node."""
    return sorted({node["network"] for node in nodes if node["network"]})


def memory_need_mib(model_bytes: int, world: int, reserve_mib: int) -> int:
    """MiB that a node must have available before its rank starts: its share of the weights, and what they do not cover.

    >>> memory_need_mib(134 * 10**9, 2, 6144), memory_need_mib(0, 1, 0)
    (70041, 0)
    """
    return -(-model_bytes // (world * 2**20)) + reserve_mib


def heads_problem(config: dict[str, Any], ways: int) -> str:
    """Say why a model cannot be split into so many ways of tensor parallelism, or nothing.

    :param config: the model's ``config.json``.

    >>> heads_problem({"text_config": {"num_attention_heads": 64}}, 3)
    'tp_size 3 does not divide the 64 attention heads of the model: use pp_size instead'
    >>> heads_problem({"num_attention_heads": 64}, 2)
    ''
    """
    heads = {**config, **config.get("text_config", {})}.get("num_attention_heads", 0)
    if not isinstance(heads, int) or heads % ways == 0:
        return ""
    return f"tp_size {ways} does not divide the {heads} attention heads of the model: use pp_size instead"


def plan(
    members: Sequence[str],
    fabric: dict[str, Any],
    snapshot: str,
    repo_dir: str,
    options: dict[str, Any],
    arguments: dict[str, Any],
    api_host: str,
    api_port: int,
    ssh_port: int,
    limits: dict[str, Any],
    image: str = "",
    version: str = "",
    model_bytes: int = 0,
    memory_reserve_mib: int = 0,
    meminfo: str = "/proc/meminfo",
    config: dict[str, Any] | None = None,
    memory_mib: int = 0,
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What the leader is told, and what each node is told.

    :param members: the nodes' names, leader first. :param fabric: ``control_address`` and ``links`` by name.
    :param snapshot: path of the pinned commit below ``repo_dir``, both on the hosts.
    :param options: the YAML of ``--extra_llm_api_options``. :param arguments: flags of trtllm-serve without dashes.
    :param image: whose tag tells the version of TensorRT-LLM, unless ``version`` does.
    :param model_bytes: of which each rank loads its share; a node must have ``memory_reserve_mib`` MiB beside it.
    :param meminfo: what to read of a node's memory. :param config: the model's ``config.json``, where it is there.
    :param memory_mib: all the memory that this node has; 0 where it does not tell.
    :returns: cluster, and node by name.
    :raises ServeError: when something is wrong that would only show minutes into a start.
    """
    if not members:
        raise ServeError("there is no node to serve on: the group of Sparks is empty")
    nodes = nodes_of(members, fabric)
    era = era_of(version or version_of(image))
    problems = check_options(options, era) + check_arguments(arguments, options, era)
    if config and not problems:
        heads = heads_problem(config, size("tensor_parallel_size", arguments, options))
        problems = [heads] if heads else []
    if problems:
        raise ServeError("; ".join(problems))
    if not snapshot.startswith(repo_dir.rstrip("/") + "/"):
        raise ServeError(f"the snapshot {snapshot} is not below {repo_dir}")
    world = 1
    for name in ("tensor_parallel_size", "pipeline_parallel_size", "context_parallel_size"):
        world *= size(name, arguments, options)
    if world != len(nodes):
        raise ServeError(
            f"tp_size x pp_size x cp_size is {world}, but there are {len(nodes)} Sparks with one GPU each: "
            "make them equal"
        )
    need = memory_need_mib(model_bytes, world, memory_reserve_mib)
    if 0 < memory_mib < need:
        raise ServeError(
            f"a rank needs {need} MiB, {need - memory_reserve_mib} for its share of the weights and "
            f"{memory_reserve_mib} beside them, and this Spark has {memory_mib} in all: choose a smaller model or one "
            "of fewer bits, serve it on more Sparks, lower trtllm_serve_memory_reserve_mib, or leave weights that the "
            "repository has a second time in hf_cache_ignore_patterns"
        )
    serve = ["trtllm-serve", MODEL + snapshot[len(repo_dir.rstrip("/")) :], *render(arguments)]
    serve += ["--host", api_host, "--port", str(api_port), "--extra_llm_api_options", "/etc/dgx-spark/trtllm/llm.yml"]
    try:
        everywhere = ipaddress.IPv4Address(api_host).is_unspecified
    except ValueError:
        raise ServeError(f"the API cannot listen on {api_host!r}: give an IPv4 address such as 127.0.0.1") from None
    probe = "127.0.0.1" if everywhere else api_host
    beyond = [port for port in (api_port, ssh_port) if not 0 < port < 2**16]
    if beyond:
        raise ServeError(f"there is no port {beyond[0]}: give one from 1 to 65535")
    cluster = {
        "nodes": [{"name": node["name"], "address": node["address"]} for node in nodes],
        "subnets": subnets_of(nodes),
        "ssh_port": ssh_port,
        "serve": serve,
        "environment": {**ENVIRONMENT, **(HARMONY if (config or {}).get("model_type") == "gpt_oss" else {})},
        "api_listen": f"{api_host}:{api_port}",
        "api_probe": f"{probe}:{api_port}",
        "limits": {**limits, "memory_need_mib": need, "metrics_follow": era == "A"},
    }
    each = {
        node["name"]: {
            "name": node["name"],
            "rank": rank,
            "address": node["address"],
            "environment": node_environment(node),
            "meminfo": meminfo,
        }
        for rank, node in enumerate(nodes)
    }
    return cluster, each


def digest(*parts: Any) -> str:
    """12 hex digits over JSON values: changes when what the containers are told changes."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def stuck(tasks: Sequence[dict[str, Any]], since: float, now: float, patience: float = 20) -> list[str]:
    """Say which tasks of a Swarm cannot start their container, and will not by themselves.

    :param tasks: as ``_swarm.tasks_of`` returns them. :param since: what was before is of no interest, in seconds.
    :param now: seconds on the same clock. :param patience: for how many seconds a task may be without a node.

    >>> task = {"name": "trtllm_worker", "node": "", "state": "pending", "wanted": "running", "at": 0}
    >>> task["error"] = "no suitable node (insufficient resources on 1 node)"
    >>> stuck([task], since=5, now=20), stuck([task], since=5, now=30)
    ([], ['trtllm_worker is pending: no suitable node (insufficient resources on 1 node)'])
    """
    says: Counter[str] = Counter()
    for task in tasks:
        waits = task["state"] == "pending" and task["wanted"] == "running" and now - max(since, task["at"]) > patience
        refused = task["state"] == "rejected" and task["at"] >= since
        if task["error"] and (waits or refused):
            where = f" on {task['node']}" if task["node"] else ""
            # One refusal may be the last of what was just mended.
            says[f"{task['name']}{where} is {task['state']}: {task['error']}"] += 2 if waits else 1
    return sorted(words for words, count in says.items() if count > 1)


def judge(state: dict[str, Any], told: str, members: Sequence[str], require_rdma: bool) -> tuple[bool, Problems]:
    """Read the supervisor's state: whether it has settled, and what is wrong with it.

    :param state: ``state.json``, empty where there is none. :param told: the digest that the containers must have.
    :returns: settled (it serves, or gave up), and one sentence a problem.
    """
    phase, reason = state.get("phase", "not started"), state.get("reason", "")
    if state.get("config") != told:
        return False, ["the containers that were asked for have not started"]
    if phase == "gave up":
        return True, [f"the supervisor gave up: {reason}"]
    if phase != "serving":
        return False, [f"{phase}{': ' + reason if reason else ''}"]
    ranks = state.get("ranks", {})
    problems = []
    for rank, name in enumerate(members if require_rdma else ()):
        found = ranks.get(short(name))
        if found is None:
            problems.append(f"rank {rank} on {name}: NCCL named no transport")
        elif found["transport"] != "IB":
            problems.append(
                f"rank {rank} on {name}: NCCL uses {found['transport']} ({found['devices']}) and not RDMA; "
                f"{found.get('why') or 'see what it says of it in its log, and that no firewall is between them'}"
            )
    return True, problems
