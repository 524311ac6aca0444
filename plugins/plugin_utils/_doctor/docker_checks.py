# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a Spark's Docker, its containers, its Swarm, and what serves. Pure functions of facts.

This plugin util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Iterator, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, instances
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.facts import Facts, NotLookedError, Seen

OLDEST = (20, 10)
WAITS_S = 300.0  #: without a change, from which on it is told that a serving waits
AGAIN = 3  #: starts of a container by Docker itself that are no accident
LOCKED = 1 << 30  #: bytes that have to be lockable at least, for a queue and its buffers
IFNAMES = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
NNODES = r"--nnodes[ =](?!1\b)\d+"
#: variables that an engine of one Spark may have as well
ALONE = frozenset({"HF_HUB_OFFLINE", "NCCL_DEBUG", "NVIDIA_MOFED"})
HANGING_NCCL = ("2.28.9", "2.30.4")


# --- Docker ----------------------------------------------------------------------------------------------------------


def docker_missing(facts: Facts) -> Iterator[Seen]:
    if not facts.get("docker_service.installed"):
        yield Seen("neither dockerd nor docker is on this host")


def docker_stopped(facts: Facts) -> Iterator[Seen]:
    unit = _docker_unit(facts)
    if unit and unit["active"] == "inactive":
        yield Seen(f"docker.service is inactive ({unit['sub']})", data=({},))


def docker_failed(facts: Facts) -> Iterator[Seen]:
    unit = _docker_unit(facts)
    # Between two tries it is activating by one of several names, and the result is that of the last try.
    again = unit and unit["active"] == "activating" and unit["result"] not in ("", "success")
    if unit and (again or unit["active"] == "failed"):
        yield Seen(f"docker.service is {unit['active']} ({unit['result']})")


def _docker_unit(facts: Facts) -> Mapping[str, str]:
    if problem := facts.get("docker_service.problem"):
        raise NotLookedError(problem)
    return facts.get("docker_service.unit")


def docker_old(facts: Facts) -> Iterator[Seen]:
    version = facts.get("docker.version")
    numbers = tuple(int(one) for one in re.findall(r"\d+", version)[:2])
    if numbers and numbers < OLDEST:
        yield Seen(f"Docker {version}")


def docker_config_wrong(facts: Facts) -> Iterator[Seen]:
    for problem in facts.get("daemon_json.problems"):
        yield Seen(f"/etc/docker/daemon.json: {problem}")


def docker_restart_pending(facts: Facts) -> Iterator[Seen]:
    file, engine = facts.get("daemon_json"), facts.get("docker")
    if file["problems"]:
        return
    missing = sorted(set(file["resources"]) - set(engine["resources"]))
    if missing:
        yield Seen(f"daemon.json advertises {', '.join(missing)}, and Docker does not yet")
    runtime = file["default_runtime"]
    if runtime and runtime != engine["default_runtime"]:
        yield Seen(f"daemon.json has the default runtime {runtime}, and Docker runs with {engine['default_runtime']}")


def toolkit_missing(facts: Facts) -> Iterator[Seen]:
    installed, runtimes = facts.get("toolkit.installed"), facts.get("docker.runtimes")
    if not installed:
        yield Seen("nvidia-container-runtime is not installed")
    elif "nvidia" not in runtimes:
        yield Seen(f"Docker's runtimes are {', '.join(runtimes) or 'none'}")


# --- containers ------------------------------------------------------------------------------------------------------


def containers_restarting(facts: Facts) -> Iterator[Seen]:
    for one in facts.get("containers"):
        # Between two ends it runs for a moment: "Up 3 seconds".
        again = one["more"] and one["more"]["restarts"] >= AGAIN and "second" in one["status"]
        if one["state"] == "restarting" or again:
            yield Seen(f"{one['name']} ({one['image']}): {one['status']}")


def container_ended(facts: Facts) -> Iterator[Seen]:
    for one in facts.containers("other"):
        if one["state"] == "exited" and one["more"] and one["more"]["exit"] not in (0, 137, 143):
            yield Seen(f"{one['name']} ({one['image']}) ended with status {one['more']['exit']}")


def container_killed(facts: Facts) -> Iterator[Seen]:
    for one in facts.containers():
        if one["more"] and one["state"] == "exited" and (one["more"]["oom_killed"] or one["more"]["exit"] == 137):
            why = "by the kernel, for lack of memory" if one["more"]["oom_killed"] else "with status 137"
            yield Seen(f"{one['name']} ended {why}")


def _over_several(facts: Facts) -> Iterator[Mapping[str, Any]]:
    """The running containers that want a fabric: ours, and of others those that say that they run on several Sparks."""
    for one in facts.containers(running=True) if facts.several else ():
        more = one["more"]
        command = " ".join(more["command"]) if more else ""
        named = {name for name in (more["variables"] if more else {}) if name not in ALONE}
        if one["serves"] == "ours" or named or re.search(rf"{NNODES}|\bmpirun\b|\bmpiexec\b", command):
            yield one


def container_without_fabric(facts: Facts) -> Iterator[Seen]:
    for one in _over_several(facts):
        more = one["more"]
        if more and more["network"] != "host":
            yield Seen(f"{one['name']} is in the network {more['network']}, and not in the host's")
        elif more and not (more["infiniband"] or more["privileged"] or more["variables"].get("NVIDIA_MOFED")):
            yield Seen(f"{one['name']} has no /dev/infiniband")


def container_memlock(facts: Facts) -> Iterator[Seen]:
    for one in _over_several(facts):
        more = one["more"]
        if more and not more["privileged"] and more["memlock"] != -1 and (more["memlock"] or 0) < LOCKED:
            limit = "Docker's own limit" if more["memlock"] is None else f"{more['memlock']} bytes"
            yield Seen(f"{one['name']} may lock {limit}")


def container_gid_pinned(facts: Facts) -> Iterator[Seen]:
    for one, variables in _variables(facts):
        if "NCCL_IB_GID_INDEX" in variables:
            yield Seen(f"{one['name']} has NCCL_IB_GID_INDEX={variables['NCCL_IB_GID_INDEX']}")


def container_ib_off(facts: Facts) -> Iterator[Seen]:
    for one, variables in _variables(facts):
        said = [
            f"{name}={variables[name]}"
            for name, wrong in (("NCCL_IB_DISABLE", "1"), ("NCCL_NET", "Socket"))
            if variables.get(name) == wrong
        ]
        if said and facts.several:
            yield Seen(f"{one['name']} has {' and '.join(said)}")


def container_ifname(facts: Facts) -> Iterator[Seen]:
    there = {str(link["netdev"]) for link in facts.links()} | {str(one["netdev"]) for one in facts.get("addresses")}
    for one, variables in _variables(facts):
        if not one["more"] or one["more"]["network"] != "host":
            continue
        for variable in IFNAMES:
            for name in filter(None, variables.get(variable, "").lstrip("=").split(",")):
                wanted = name.split(":")[0]
                if not name.startswith("^") and not any(netdev.startswith(wanted) for netdev in [*there, "lo"]):
                    yield Seen(f"{one['name']} has {variable}={variables[variable]}, and there is no {wanted}")


def container_host_ip(facts: Facts) -> Iterator[Seen]:
    for one, variables in _variables(facts):
        command = " ".join(one["more"]["command"])
        over_several = re.search(NNODES, command)
        for engine, variable in (("vllm", "VLLM_HOST_IP"), ("sglang", "SGLANG_HOST_IP")):
            if over_several and engine in f"{one['image']} {command}" and not variables.get(variable):
                yield Seen(f"{one['name']} runs over several hosts without {variable}")


def container_secret(facts: Facts) -> Iterator[Seen]:
    for one in facts.containers():
        if one["more"] and one["more"]["secrets"]:
            yield Seen(f"{one['name']} has {', '.join(one['more']['secrets'])}")


def _variables(facts: Facts) -> Iterator[tuple[Mapping[str, Any], Mapping[str, str]]]:
    for one in facts.containers(running=True):
        if one["more"]:
            yield one, one["more"]["variables"]


# --- Swarm -----------------------------------------------------------------------------------------------------------


def swarm_lost(facts: Facts) -> Iterator[Seen]:
    swarm = facts.get("docker.swarm")
    if swarm["state"] not in ("inactive", "active"):
        error = f": {swarm['error']}" if swarm["error"] else ""
        yield Seen(f"Docker's place in its Swarm is {swarm['state']}{error}")


def swarm_link_local(facts: Facts) -> Iterator[Seen]:
    address = _swarm_address(facts)
    if address and ipaddress.ip_address(address).is_link_local:
        yield Seen(f"it advertises {address}")


def swarm_address_gone(facts: Facts) -> Iterator[Seen]:
    address, own = _swarm_address(facts), {one["address"] for one in facts.get("addresses")}
    if address and ":" not in address and address not in own:
        yield Seen(f"it advertises {address}, and the host has {', '.join(sorted(own)) or 'none'}")


def swarm_by_dhcp(facts: Facts) -> Iterator[Seen]:
    address = _swarm_address(facts)
    for one in facts.get("addresses"):
        if address and one["address"] == address and one["dynamic"]:
            yield Seen(f"it advertises {address}, which {one['netdev']} has for a certain time")


def _swarm_address(facts: Facts) -> str:
    swarm = facts.get("docker.swarm")
    return str(swarm["address"]) if swarm["state"] == "active" else ""


def _managed(facts: Facts) -> Mapping[str, Any]:
    """What a manager tells; nothing of a host that is none. :raises NotLookedError: where it does not tell."""
    return facts.get("swarm") if facts.get("docker.swarm.manager") else {"nodes": [], "stuck": [], "reserved": []}


def swarm_node_down(facts: Facts) -> Iterator[Seen]:
    for node in _managed(facts)["nodes"]:
        if node["state"] != "ready":
            yield Seen(f"{node['hostname'] or node['address']} is {node['state']}")


def swarm_node_drained(facts: Facts) -> Iterator[Seen]:
    for node in _managed(facts)["nodes"]:
        if node["availability"] != "active":
            yield Seen(f"{node['hostname'] or node['address']} has the availability {node['availability']}")


def swarm_no_gpu(facts: Facts) -> Iterator[Seen]:
    managed = _managed(facts)
    yield from (Seen(words) for words in managed["stuck"] if "no suitable node" in words)
    offered = {one.partition("=")[0] for node in managed["nodes"] for one in node["resources"]}
    for kind in managed["reserved"]:
        if kind not in offered:
            yield Seen(f"a service reserves {kind}, and the nodes offer {', '.join(sorted(offered)) or 'nothing'}")


def swarm_bind_missing(facts: Facts) -> Iterator[Seen]:
    yield from (Seen(words) for words in _managed(facts)["stuck"] if _is_bind(words))


def swarm_task_fails(facts: Facts) -> Iterator[Seen]:
    for words in _managed(facts)["stuck"]:
        if "no suitable node" not in words and not _is_bind(words):
            yield Seen(words)


def _is_bind(words: str) -> bool:
    return "invalid mount config" in words or "bind source path" in words


def swarm_resource_mismatch(facts: Facts) -> Iterator[Seen]:
    engine, toolkit = facts.get("docker"), facts.get("toolkit")
    if engine["swarm"]["state"] != "active" or not toolkit["installed"]:
        return
    named = {one.strip() for one in toolkit["swarm_resource"].split(",") if one.strip()}
    for kind in sorted({one.partition("=")[0] for one in engine["resources"]}):
        variable = f"DOCKER_RESOURCE_{kind.upper()}"
        if variable not in named:
            yield Seen(f"swarm-resource is {toolkit['swarm_resource'] or 'not set'}, and has to name {variable}")


# --- what this collection serves -------------------------------------------------------------------------------------


def serving_gave_up(facts: Facts) -> Iterator[Seen]:
    for one in _in_phase(facts, contract.GAVE_UP):
        yield Seen(f"{one['name']}: {_reason(one)}")


def serving_failing(facts: Facts) -> Iterator[Seen]:
    for one in _in_phase(facts, contract.FAILED, contract.STARTING):
        starts = one["state"].get("starts") or 0
        if one["phase"] == contract.FAILED or starts > 1:
            yield Seen(f"{one['name']}, start {starts}: {one['state'].get('last_end') or _reason(one)}")


def serving_waiting(facts: Facts) -> Iterator[Seen]:
    for one in _in_phase(facts, contract.WAITING):
        waited = facts.at - float(one["state"].get("at") or 0)
        if waited > WAITS_S:
            yield Seen(f"{one['name']} waits for {waited / 60:.0f} minutes: {_reason(one)}")


def serving_kept_stopped(facts: Facts) -> Iterator[Seen]:
    for one in facts.servings():
        if _kept_stopped(one):
            yield Seen(f"{one['name']} is {contract.BY_STOP}")


def _kept_stopped(serving: Mapping[str, Any]) -> bool:
    """Whether stop.yml has stopped it, which is nobody's trouble."""
    return (serving["phase"], serving["state"].get("reason")) == (contract.STOPPED, contract.BY_STOP)


def serving_stopped(facts: Facts) -> Iterator[Seen]:
    for one in facts.servings():
        by_systemd = one["launcher"] == instances.SYSTEMD
        inactive = by_systemd and one["unit"].get("active") in ("inactive", "failed")
        stopped = one["phase"] == contract.STOPPED and not by_systemd  # systemd knows sooner than the state tells
        if (stopped or (inactive and one["phase"] != contract.GAVE_UP)) and not _kept_stopped(one):
            starts = by_systemd and one["unit"].get("file") != "disabled"  # one that is disabled does not start
            data = ({"unit": f"{one['name']}.service"},) if starts else ()
            reason = f" ({_reason(one)})" if one["phase"] else ""
            yield Seen(f"{one['name']} is {one['phase'] or 'not started'}{reason}", data=data)


def serving_without_container(facts: Facts) -> Iterator[Seen]:
    phases = (contract.SERVING, contract.STARTING, contract.LISTENING)
    running = [one["name"] for one in facts.containers("ours", running=True)]
    for one in _in_phase(facts, *phases):
        if not any(name == one["name"] or name.startswith(f"{one['name']}_") for name in running):
            yield Seen(f"{one['name']} is said to be {one['phase']}, and no container of it runs")


def serving_over_tcp(facts: Facts) -> Iterator[Seen]:
    for one in _in_phase(facts, contract.SERVING):
        ranks = one["state"].get("ranks")
        if one["rank"] or len(one["nodes"]) < 2 or not isinstance(ranks, dict):
            continue
        for rank, name in enumerate(one["nodes"]):
            if problem := contract.rank_problem(rank, name, ranks.get(contract.short(name))):
                yield Seen(problem)


def serving_image_missing(facts: Facts) -> Iterator[Seen]:
    for one in _in_phase(facts, contract.WAITING):
        if re.search(r"[Nn]o such image", _reason(one)):
            yield Seen(f"{one['name']}: {_reason(one)}")
    for one in facts.servings():
        unit = one["unit"]
        names = {container["name"] for container in facts.get("containers")}
        if unit and unit.get("active") == "failed" and one["name"] not in names:
            yield Seen(f"{one['name']}: its unit has failed, and it has no container")


def validation_left(facts: Facts) -> Iterator[Seen]:
    found = facts.get("validation")
    if found["there"] and not found["running"]:
        yield Seen("the container dgx-spark-validate, or /run/dgx-spark-validate, is left", data=({},))


def nccl_known(facts: Facts) -> Iterator[Seen]:
    for one in facts.get("nccl"):
        if re.match(r"\d+\.\d+\.\d+", one["version"]) and one["version"].split("+")[0] in HANGING_NCCL:
            yield Seen(f"NCCL {one['version']}, {one['bytes']} bytes, {one['sha256'][:12]}, in {one['path']}")


def _in_phase(facts: Facts, *phases: str) -> Iterator[Mapping[str, Any]]:
    yield from (one for one in facts.servings() if one["phase"] in phases)


def _reason(serving: Mapping[str, Any]) -> str:
    return str(serving["state"].get("reason") or "it says no reason")
