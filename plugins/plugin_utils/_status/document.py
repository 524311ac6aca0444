# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Sparks told, as one document: hosts, instances with their ranks, and the Swarm. Pure functions.

docs/status.schema.json has its shape. What was not told is null, and never 0.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.instances import SWARM
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status import judge
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status.told import (
    figures,
    mapping,
    mappings,
    number,
    text,
    texts,
    whole,
    yes,
)

SCHEMA = 1
KEPT_BY_SWARM = 4  #: ended containers of a rank; there may have been more
GPU_NUMBERS = ("temperature_c", "power_w", "clock_mhz", "clock_max_mhz", "used")
RECEIPT_NUMBERS = ("at", "port_s", "health_s", "first_token_s", "bytes_loaded", "kv_tokens")
RECEIPT_TEXTS = ("config", "image", "model", "nccl")
MEMORY = ("total_mib", "available_mib", "swap_used_mib")
ASKED = ("requests", "refused", "failed", "cut", "left", "prompt_tokens", "tokens", "ttft_ms", "slowest_ttft_ms")


class Here(NamedTuple):
    """An instance on one host."""

    host: str
    at: float | None
    read: Mapping[str, Any]
    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the container, its unit and the stack."""
        return text(self.facts.get("name"))

    @property
    def nodes(self) -> list[Mapping[str, Any]]:
        """The ranks, as all nodes know them."""
        return mappings(mapping(self.facts.get("cluster")).get("nodes"))

    @property
    def containers(self) -> list[Mapping[str, Any]] | None:
        """Those of its rank here, the newest first; None where Docker did not answer."""
        docker = self.read.get("docker")
        if not isinstance(docker, Mapping):
            return None
        return mappings(mapping(docker.get("containers")).get(self.name))


def judged(members: Mapping[str, object], now: float) -> dict[str, Any]:
    """The document with its anomalies, and the class of the worst of them."""
    made = document(members, now)
    found = judge.anomalies(made)
    worst = found[0]["class"] if found else "good"
    return {"schema": SCHEMA, "at": now, "class": worst, "anomalies": found, **made}


def document(members: Mapping[str, object], now: float) -> dict[str, Any]:
    """The document, without anomalies.

    :param members: what M(engine_status_info) returned, by host; of one that did not answer what Ansible says.
    :param now: in seconds since the epoch.
    """
    told = {name: mapping(one) for name, one in members.items()}
    here = [
        Here(name, number(one.get("at")), mapping(one.get("read")), facts)
        for name, one in told.items()
        for facts in mappings(mapping(one.get("read")).get("instances"))
        if text(facts.get("name"))
    ]
    groups: dict[tuple[str, ...], list[Here]] = {}
    for one in here:
        names = [text(node.get("name")) for node in one.nodes]
        groups.setdefault((one.name, *(names or [f"on {one.host}"])), []).append(one)
    return {
        "schema": SCHEMA,
        "at": now,
        "hosts": [_host(name, one) for name, one in told.items()],
        "instances": [_instance(some, list(told)) for _key, some in sorted(groups.items())],
        "gateways": [gateway for name, one in told.items() for gateway in _gateways(name, mapping(one.get("read")))],
        "swarm": _swarm(told),
    }


# --- hosts -----------------------------------------------------------------------------------------------------------


def _host(name: str, told: Mapping[str, Any]) -> dict[str, Any]:
    read, unreachable = mapping(told.get("read")), yes(told.get("unreachable")) or False
    machine, docker = mapping(read.get("machine")), mapping(read.get("docker"))
    memory = mapping(machine.get("memory"))
    unread = {text(part): text(why) for part, why in mapping(told.get("unread")).items()}
    return {
        "name": text(name),
        "answered": "read" in told,
        "unreachable": unreachable,
        "why": "" if "read" in told else _why(told),
        "at": number(told.get("at")),
        "hostname": text(machine.get("hostname")) or None,
        "kernel": text(machine.get("kernel")) or None,
        "up_s": number(machine.get("up_s")),
        "memory": {key: whole(memory.get(key)) for key in MEMORY},
        "gpus": [_gpu(gpu) for gpu in mappings(read.get("gpus"))],
        "links": [_link(link) for link in mappings(read.get("links"))],
        "docker": text(docker.get("version")) or None,
        "swarm": text(mapping(docker.get("swarm")).get("state")) or None,
        "swarm_error": text(mapping(docker.get("swarm")).get("error")) or None,
        "unread": unread,
    }


def _why(told: Mapping[str, Any]) -> str:
    message, more = (text(told.get(name)) for name in ("msg", "module_stderr"))
    said = f"{message.removeprefix('Task failed: ')}{f' ({more})' if more else ''}"
    return said[:500] or "nothing is known of it"


def _gpu(gpu: Mapping[str, Any]) -> dict[str, Any]:
    names = {name: text(gpu.get(name)) or None for name in ("name", "driver", "pstate")}
    return {**names, **{name: number(gpu.get(name)) for name in GPU_NUMBERS}}


def _link(link: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "netdev": text(link.get("netdev")) or None,
        "rdma_device": text(link.get("rdma_device")) or None,
        "cage": whole(link.get("physical_port")),
        "state": text(link.get("state")) or None,
        "admin_up": yes(link.get("admin_up")),
        "carrier": yes(link.get("carrier")),
        "speed_mbps": whole(link.get("speed_mbps")),
        "mtu": whole(link.get("mtu")),
        "sent_bytes_s": number(link.get("sent_bytes_s")),
        "received_bytes_s": number(link.get("received_bytes_s")),
    }


def _swarm(told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The Swarm as its first manager sees it, None where no manager answered."""
    for name, one in told.items():
        swarm = mapping(mapping(mapping(one.get("read")).get("docker")).get("swarm"))
        if yes(swarm.get("manager")):
            nodes = [_node(node) for node in mappings(swarm.get("nodes"))]
            refused = {text(key): texts(words) for key, words in mapping(swarm.get("refused")).items()}
            return {"manager": text(name), "nodes": nodes, "refused": refused}
    return None


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    words = {name: text(node.get(name)) for name in ("hostname", "state", "message", "availability")}
    return {**words, "leader": yes(node.get("leader")) or False, "rank": whole(node.get("rank"))}


# --- gateways ---------------------------------------------------------------------------------------------------------


def _gateways(host: str, read: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_gateway(host, read, one) for one in mappings(read.get("gateways")) if text(one.get("name"))]


def _gateway(host: str, read: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    name, units, clients = text(about.get("name")), read.get("units"), about.get("clients")
    unit = mapping(units.get(f"{name}.service")) if isinstance(units, Mapping) else None
    return {
        "host": text(host),
        "name": name,
        "instance": text(about.get("instance")),
        "listens": text(about.get("listens")) or None,
        "state": None if unit is None else text(unit.get("active")) or "missing",
        "problem": text(about.get("problem")),
        "all": yes(about.get("all")) or False,
        "clients": [_client(who, mapping(one)) for who, one in sorted(clients.items(), key=lambda item: text(item[0]))]
        if isinstance(clients, Mapping)
        else None,
    }


def _client(name: object, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a client asked within the hour; its name is empty for requests without a key that is known."""
    called = text(name, 100)
    figures_of = {key: whole(asked.get(key)) for key in ASKED}
    return {"name": "" if called == "-" else called, "last_at": number(asked.get("last_at")), **figures_of}


# --- instances -------------------------------------------------------------------------------------------------------


def _instance(some: Sequence[Here], members: Sequence[str]) -> dict[str, Any]:
    first = some[0]
    nodes = [(text(node.get("name")), text(node.get("address"))) for node in first.nodes]
    nodes = nodes or [(first.host, text(mapping(first.facts.get("node")).get("address")))]
    by_host = {one.host: one for one in some}
    leader = by_host.get(nodes[0][0])
    state = mapping(leader.facts.get("state")) if leader else {}
    launcher = text((leader or first).facts.get("launcher"))
    ranks = [
        _rank(number, name, address, by_host.get(name), name in members, mapping(state.get("ranks")), launcher == SWARM)
        for number, (name, address) in enumerate(nodes)
    ]
    phase = text(state.get("phase")) or None
    cluster = mapping((leader or first).facts.get("cluster"))
    limits = mapping(cluster.get("limits"))
    probe = text(cluster.get("api_probe"))
    return {
        "name": first.name,
        "engine": text(first.facts.get("engine")),
        "instance": text(first.facts.get("instance")),
        "launcher": launcher,
        "leader": nodes[0][0],
        "phase": phase,
        "reason": text(state.get("reason")),
        "serves": _serves(phase, ranks),
        "at": number(state.get("at")),
        "began": number(state.get("began")),
        "starts": whole(state.get("starts")),
        "endpoint": f"http://{probe}/v1" if probe else None,
        "listens": text(first.facts.get("api_listen")) or None,
        "model": _model(state, some),
        "draft": _draft(some),
        "image": _image(leader or first),
        "kv_tokens": whole(state.get("kv_tokens")) or None,
        "load_s": number(state.get("load_s")),
        "canary_s": number(state.get("canary_s")),
        "canary_at": number(state.get("canary_at")),
        "receipt": _receipt(state.get("receipt")),
        "last_receipt": _receipt(state.get("last_receipt")),
        "last_failure": _last_failure(state),
        "history": [_entry(one) for one in mappings(leader.facts.get("history"))] if leader else [],
        "previous": _entry(mapping(leader.facts["previous"])) if leader and leader.facts.get("previous") else None,
        "require_rdma": yes(limits.get("require_rdma")) or False,
        "memory_floor_mib": whole(limits.get("memory_floor_mib")),
        "clusters": sorted({_text(one, "cluster_digest") or "" for one in some} - {""}),
        "ranks": ranks,
    }


def _serves(phase: str | None, ranks: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether it does, for which all ranks have to run; None where nothing tells."""
    if any(rank["runs"] is False for rank in ranks) or phase not in (contract.SERVING, None):
        return False
    if phase is None:
        return False if ranks[0]["configured"] else None
    return ranks[0]["runs"]


def _text(one: Here, name: str) -> str | None:
    return text(one.facts.get(name)) or None


def _of(some: Sequence[Here], name: str) -> str | None:
    """What the first container that tells it has."""
    told = (text(container.get(name)) for one in some for container in one.containers or [])
    return next(filter(None, told), None)


def _model(state: Mapping[str, Any], some: Sequence[Here]) -> dict[str, Any]:
    return {"name": text(state.get("model")) or None, "repo": _of(some, "repo"), "commit": _commit(some, "commit")}


def _draft(some: Sequence[Here]) -> dict[str, Any] | None:
    repo, commit = _of(some, "draft_repo"), _commit(some, "draft_commit")
    return {"repo": repo, "commit": commit} if repo or commit else None


def _commit(some: Sequence[Here], name: str) -> str | None:
    return next(filter(None, (_text(one, name) for one in some)), None)


def _image(one: Here) -> dict[str, Any] | None:
    images = mapping(mapping(one.read.get("docker")).get("images"))
    used = (text(container.get("image_id")) for container in one.containers or [])
    image = mapping(images.get(next(filter(None, used), "")))
    keys = ("name", "id", "digest", "base", "base_digest")
    return {key: text(image.get(key)) or None for key in keys} if image else None


def _receipt(told: object) -> dict[str, Any] | None:
    """A receipt of the shape :class:`contract.Receipt`, as far as it was told, and what a later supervisor adds."""
    if not isinstance(told, Mapping):
        return None
    transports = {text(node): text(one) for node, one in list(mapping(told.get("transports")).items())[:100]}
    known: dict[str, Any] = {
        **{name: number(told.get(name)) for name in RECEIPT_NUMBERS},
        **{name: text(told.get(name)) or None for name in RECEIPT_TEXTS},
        "transports": transports or None,
    }
    return {**figures(told), **{name: one for name, one in known.items() if name in told}}


def _entry(one: Mapping[str, Any]) -> dict[str, Any]:
    words = {name: text(one.get(name)) for name in ("repo", "commit", "outcome", "why")}
    return {"at": number(one.get("at")), **words}


def _last_failure(state: Mapping[str, Any]) -> dict[str, Any] | None:
    reason, lost = text(state.get("last_end")), text(state.get("lost_why"))
    if reason:
        return {"reason": reason, "at": number(state.get("last_end_at"))}
    return {"reason": lost, "at": number(state.get("lost_at"))} if lost else None


def _rank(
    rank: int,
    name: str,
    address: str,
    here: Here | None,
    asked: bool,
    transports: Mapping[str, Any],
    swarm: bool,
) -> dict[str, Any]:
    containers = here.containers if here else None
    newest = containers[0] if containers else {}
    running = text(newest.get("state")) == "running"
    started, at = number(newest.get("started_at")), here.at if here else None
    transport = mapping(transports.get(contract.short(name))) if name else {}
    unit = _unit(here) if here and not swarm else None
    ended = max(0, len(containers) - 1) if containers is not None else None
    node = mapping(here.facts.get("node")) if here else {}
    return {
        "rank": rank,
        "host": name,
        "address": address or None,
        "asked": asked,
        "configured": here is not None,
        "problem": text(here.facts.get("problem")) if here else "",
        "state": None if containers is None else text(newest.get("state")) or "missing",
        "runs": _runs(containers, running, unit),
        "health": text(newest.get("health")) or None,
        "age_s": max(0.0, at - started) if running and at is not None and started is not None else None,
        "exit_status": None if running else whole(newest.get("exit_status")),
        "error": text(newest.get("error")),
        "oom_killed": bool(yes(newest.get("oom_killed"))) and not running,
        "restarts": ended if swarm else whole(unit.get("restarts")) if unit else None,
        "restarts_at_least": swarm and (ended or 0) >= KEPT_BY_SWARM,
        "config": text(newest.get("config")) or None,
        "phase": text(mapping(here.facts.get("state")).get("phase")) or None if here else None,
        "transport": text(transport.get("transport")) or None,
        "devices": text(transport.get("devices")) or None,
        "transport_why": text(transport.get("why")) or None,
        "rdma_devices": texts(node.get("rdma_devices")),
        "unit": unit,
    }


def _runs(containers: Sequence[Mapping[str, Any]] | None, running: bool, unit: Mapping[str, Any] | None) -> bool | None:
    """Whether a rank runs; where Docker does not tell, by its unit. None where that does not tell either."""
    if containers is not None:
        return running
    return unit["active"] == "active" if unit else None


def _unit(here: Here) -> dict[str, Any] | None:
    """The unit, None where systemd did not tell of any."""
    units = here.read.get("units")
    if not isinstance(units, Mapping):
        return None
    unit = mapping(units.get(f"{here.name}.service"))
    words = {name: text(unit.get(name)) for name in ("active", "sub", "result", "enabled")}
    return {**words, "restarts": whole(unit.get("restarts")), "age_s": number(unit.get("age_s"))}
