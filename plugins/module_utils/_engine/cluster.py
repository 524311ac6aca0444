# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a cluster that serves: the configuration of all nodes and of each node, for any engine. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.contract import short
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.hostfile import HostfileError, validate_nodes

#: where no network of the fabric reaches all: NVIDIA's recipe for a ring
RING = {"NCCL_IB_SUBNET_AWARE_ROUTING": "1", "NCCL_NET_PLUGIN": "none"}


class ServeError(ValueError):
    """The model cannot be served as asked; the message says why and what to change."""


@dataclass(frozen=True)
class Request:
    """Who serves, what, and how."""

    members: Sequence[str]  # leader first
    engine: Mapping[str, Any]  # as the planner of the engine returns it: settings, serve, environment
    fabric: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by member, as cx7_network plans it
    api_host: str = "127.0.0.1"
    api_port: int = 8355
    ssh_port: int = 2233
    limits: Mapping[str, Any] = field(default_factory=dict)  # of the shape contract.Limits
    model_bytes: int = 0  # of which each rank loads its share
    draft_bytes: int = 0  # of a rank, of a model that guesses tokens
    memory_reserve_mib: int = 0  # that a node must have available beside its share
    memory_budget_mib: int = 0  # that a rank may take in all; 0 for what is free
    meminfo: str = contract.MEMINFO  # the path, inside the containers


def plan(asked: Request) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """``cluster.json``, and ``node.json`` by member; of the shapes :class:`contract.Cluster` and ``NodeConfig``.

    :raises ServeError: when something is wrong that would only show minutes into a start.
    """
    nodes = nodes_of(asked.members, asked.fabric)
    beyond = [port for port in (asked.api_port, asked.ssh_port) if not 0 < port < 2**16]
    if beyond:
        raise ServeError(f"there is no port {beyond[0]}: give one from 1 to 65535")
    probe = "127.0.0.1" if ipaddress.ip_address(asked.api_host).is_unspecified else asked.api_host
    need = memory_need_mib(asked.model_bytes, len(nodes), asked.memory_reserve_mib, asked.draft_bytes)
    cluster = {
        "engine": dict(asked.engine["settings"]),
        "nodes": [{"name": node["name"], "address": node["address"]} for node in nodes],
        "subnets": subnets_of(nodes),
        "netdevs": netdevs_of(nodes),
        "ssh_port": asked.ssh_port,
        "serve": list(asked.engine["serve"]),
        "environment": dict(asked.engine["environment"]),
        "api_listen": f"{asked.api_host}:{asked.api_port}",
        "api_probe": f"{probe}:{asked.api_port}",
        "limits": {
            **asked.limits,
            "memory_need_mib": need,
            "memory_reserve_mib": asked.memory_reserve_mib,
            **({"memory_budget_mib": asked.memory_budget_mib} if asked.memory_budget_mib else {}),
            "load_timeout_s": asked.limits.get("load_timeout_s")
            or load_timeout_s(asked.model_bytes, len(nodes), asked.draft_bytes),
        },
    }
    each = {
        node["name"]: {
            "name": node["name"],
            "rank": rank,
            "address": node["address"],
            "environment": node_environment(node, bool(asked.limits.get("require_rdma"))),
            "rdma_devices": rdma_devices(node["links"]),
            "meminfo": asked.meminfo,
        }
        for rank, node in enumerate(nodes)
    }
    return cluster, each


def check_api_host(host: str) -> None:
    """Refuse what is no address to listen on. :raises ServeError: with the mend."""
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        raise ServeError(f"the API cannot listen on {host!r}: give an IPv4 address such as 127.0.0.1") from None


def nodes_of(members: Sequence[str], fabric: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Name, control address and links of each member; a Spark that is alone talks to itself."""
    if not members:
        raise ServeError("there is no node to serve on: the group of Sparks is empty")
    if len(members) == 1:
        return [{"name": members[0], "address": "127.0.0.1", "network": "", "links": []}]
    names = [short(name).lower() for name in members]
    twice = next((name for name in names if names.count(name) > 1), "")
    same = [member for member, name in zip(members, names) if name == twice]
    if same:
        raise ServeError(f"{' and '.join(same)} are both {short(same[0])} to MPI: rename one of them")
    for member in members:
        try:
            validate_nodes([{"address": short(member)}])
        except HostfileError as error:
            said = str(error).partition(" ")[2]
            raise ServeError(
                f"{member} cannot be a node's name to MPI: {said}, or rename {member} in the inventory (ansible_host "
                "has the address)"
            ) from error
    wrong = [problem for name in members for problem in _fabric_problems(name, fabric.get(name))]
    if wrong:
        raise ServeError(f"{'; '.join(wrong[:5])}: give engine_serve_fabric as the role cx7_network plans it")
    missing = [name for name in members if not (fabric.get(name) or {}).get("control_address")]
    if missing:
        raise ServeError(
            f"no control address is planned for {', '.join(missing)}: run cx7_network on all of them first"
        )
    nodes = [{"name": name, **control(fabric[name]), "links": fabric[name].get("links", [])} for name in members]
    lost = [f"{node['name']} ({node['address']})" for node in nodes if not node["network"] or not node["netdev"]]
    if lost:
        raise ServeError(
            f"nothing tells netdev and network of the control address of {', '.join(lost)}: run cx7_network, or give "
            "control_netdev and control_network in engine_serve_fabric"
        )
    return nodes


def _fabric_problems(name: str, host: Any) -> Iterator[str]:
    """What of a member's part of the fabric is not of the shape that cx7_network plans."""
    if host is None:
        return
    if not isinstance(host, Mapping):
        yield f"the fabric of {name} is {host!r} and no mapping"
        return
    links = host.get("links", [])
    for key in ("control_address", "control_netdev", "control_network"):
        if host.get(key) is not None and not isinstance(host[key], str):
            yield f"{key} of {name} is {host[key]!r} and no text"
    if not isinstance(links, Sequence) or isinstance(links, str):
        yield f"links of {name} is {links!r} and no list"
        return
    for number, link in enumerate(links):
        if not isinstance(link, Mapping):
            yield f"links[{number}] of {name} is {link!r} and no mapping"
            continue
        for key in ("netdev", "rdma_device", "address"):
            value = link.get(key)
            if not isinstance(value, str) or not value:
                yield f"links[{number}].{key} of {name} is {value!r} and no text"


def check_model(model: Mapping[str, Any]) -> None:
    """Refuse what is not of the shape of a model, as the role hf_cache plans one and a person may give it.

    :raises ServeError: naming each part.
    """
    wrong = list(_model_problems(model))
    beside = model.get("beside")
    if beside is not None and not (isinstance(beside, list) and all(isinstance(one, Mapping) for one in beside)):
        wrong.append(f"beside is {beside!r} and no list of models")
    else:
        wrong += [
            f"beside[{number}].{text}" for number, one in enumerate(beside or []) for text in _model_problems(one)
        ]
    if wrong:
        raise ServeError(f"of the model, {'; '.join(wrong)}: give engine_serve_model as the role hf_cache plans it")


def _model_problems(model: Mapping[str, Any]) -> list[str]:
    """What is not of the shape of a model, a sentence each."""
    dirs, size = model.get("repo_dirs"), model.get("bytes")
    texts = [("repo_dir", model.get("repo_dir"))]
    texts += [(name, model[name]) for name in ("repo", "commit") if model.get(name) is not None]
    texts += [(f"repo_dirs[{name!r}]", path) for name, path in dirs.items()] if isinstance(dirs, Mapping) else []
    wrong = [f"{name} is {value!r} and no text" for name, value in texts if not isinstance(value, str) or not value]
    if dirs is not None and not isinstance(dirs, Mapping):
        wrong.append(f"repo_dirs is {dirs!r} and no mapping")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        wrong.append(f"bytes is {size!r} and no number of bytes")
    return wrong


def control(host: Mapping[str, Any]) -> dict[str, Any]:
    """Where ranks reach a node: ``address``, ``netdev``, ``network`` in CIDR notation, and whether the fabric has it.

    :param host: ``control_address`` and ``links``; unless one of these has that address, ``control_netdev`` and
        ``control_network``: on a ring no network of the fabric reaches all.
    """
    address = _interface(host["control_address"]).ip
    for link in host.get("links", []):
        interface = _interface(link["address"])
        if interface.ip == address:
            netdev, network = link["netdev"], str(interface.network)
            return {"address": str(address), "netdev": netdev, "network": network, "on_fabric": True}
    beside = {"netdev": host.get("control_netdev"), "network": host.get("control_network")}
    return {"address": str(address), **beside, "on_fabric": False}


def _interface(address: object) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    try:
        return ipaddress.ip_interface(str(address))
    except ValueError:
        raise ServeError(
            f"{address!r} is no IP address: give those of engine_serve_fabric as the role cx7_network plans them"
        ) from None


def rdma_devices(links: Sequence[Mapping[str, Any]]) -> list[str]:
    """The RoCE devices of some links, each once: on a switch a device has a link to every peer."""
    return list(dict.fromkeys(link["rdma_device"] for link in links))


def node_environment(node: Mapping[str, Any], require_rdma: bool) -> dict[str, str]:
    """What differs from node to node: its RoCE devices, its netdevs, its short name.

    :param require_rdma: then NCCL itself fails where it finds no RoCE device, and does not take TCP.
    """
    environment = {"PMIX_HOSTNAME": short(node["name"])}
    links = node.get("links", [])
    if links:
        environment.update(
            NCCL_IB_HCA="=" + ",".join(rdma_devices(links)),  # without "=" each is the beginning of a name
            NCCL_SOCKET_IFNAME=node["netdev"],
            UCX_NET_DEVICES=",".join(dict.fromkeys(link["netdev"] for link in links)),
        )
        if require_rdma:
            environment["NCCL_NET"] = "IB"
        if not node["on_fabric"]:
            environment.update(RING, UCX_NET_DEVICES=node["netdev"])
    return environment


def subnets_of(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """The networks of the control addresses: where ranks reach each other. Empty for a single node."""
    return sorted({node["network"] for node in nodes if node["network"]})


def netdevs_of(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """The netdevs of the control addresses, by name, those of all nodes: cables may be in other cages on another."""
    return sorted({node["netdev"] for node in nodes if node.get("netdev")})


def memory_need_mib(model_bytes: int, world: int, reserve_mib: int, draft_bytes: int = 0) -> int:
    """MiB that a node must have available before its rank starts: its share of the weights, and what they do not cover.

    :param draft_bytes: of one rank, of a model that guesses tokens.

    >>> memory_need_mib(134 * 10**9, 2, 6144), memory_need_mib(0, 1, 0), memory_need_mib(2**30, 1, 0, 2**29)
    (70041, 0, 1536)
    """
    return -(-model_bytes // (world * 2**20)) + -(-draft_bytes // 2**20) + reserve_mib


def load_timeout_s(model_bytes: int, world: int, draft_bytes: int = 0) -> int:
    """Seconds after which a load is ended although it makes progress: an hour, and what a slow reading takes.

    Weights that are larger than what a loader reads ahead were seen to come at 130 MB/s, by page faults.

    :param draft_bytes: of one rank, of a model that guesses tokens.

    >>> load_timeout_s(134 * 10**9, 2), load_timeout_s(0, 1), load_timeout_s(0, 1, 5 * 10**9)
    (4940, 3600, 3700)
    """
    return 3600 + model_bytes // (world * 50 * 10**6) + draft_bytes // (50 * 10**6)


def memory_problem(memory_mib: int, need_mib: int, reserve_mib: int) -> str:
    """Say why a Spark is too small for a rank, or nothing.

    :param memory_mib: all that it has, 0 where that is unknown.
    :param need_mib: what a rank needs, the reserve included, as both are for a Spark of 128 GB.
    """
    share, reserve_mib = need_mib - reserve_mib, contract.scaled_mib(reserve_mib, memory_mib)
    if not 0 < memory_mib < share + reserve_mib:
        return ""
    return (
        f"a rank needs {share + reserve_mib} MiB, {share} for its share of the weights and "
        f"{reserve_mib} beside them, and this Spark has {memory_mib} in all: choose a smaller model or one "
        "of fewer bits, serve it on more Sparks, lower engine_serve_memory_reserve_mib, or leave weights that the "
        "repository has a second time in hf_cache_ignore_patterns"
    )


def digest(*parts: Any) -> str:
    """12 hex digits over JSON values: changes when the configuration of the containers changes."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
