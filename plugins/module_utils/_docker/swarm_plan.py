# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a Docker Swarm that hands out the GPUs of its members. Pure functions of what the hosts have.

This module util is private to the collection.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import (
    RESOURCES,
    Settings,
    not_in_effect,
    parse,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.dockerd import live_restore
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm import (
    Membership,
    SwarmError,
    address_of,
    clock_problem,
    collisions,
    leader_step,
    leftovers,
    node_problems,
    rank_labels,
    with_labels,
    worker_step,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.toolkit_config import (
    ToolkitConfigError,
    swarm_way,
    with_resource,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.toolkit_plan import (
    NVIDIA,
    RESTART,
    DockerPlanError,
    about_file,
    edited,
    engine_warnings,
    refuse_restart_of,
    refuse_rootless,
    restart_refusal,
    settings_beside_flags,
    unread,
    uuids,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import ufw
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change, text_of

COMMENT = "DGX Spark Swarm"
TCP_PORTS = [2377, 7946]
UDP_PORTS = [7946, 4789]

# The names of the tasks that make the changes.
IMAGE = "Create the image for the check of Swarm tasks"
ADVERTISE = "Advertise the GPUs to Docker Swarm"
SELECT = "Configure the NVIDIA runtime for Docker Swarm"
FIREWALL = "Allow the other members in the firewall"
CREATE = "Create the swarm"
JOIN = "Join the swarm"
LABEL = "Label the nodes and remove former members"
CHANGES = (IMAGE, ADVERTISE, SELECT, FIREWALL, CREATE, JOIN, LABEL, RESTART)

_LIST_TOOLKIT = "List sparkops.dgx_spark.container_toolkit before sparkops.dgx_spark.swarm_gpu."

Members = Mapping[str, Mapping[str, Any]]


def place_of(found: Mapping[str, Any]) -> Membership:
    """Return a host's place in a swarm."""
    place = found["swarm"]["place"]
    return Membership(**{**place, "managers": tuple(place.get("managers") or ())})


def gpu_selection(host: str, found: Mapping[str, Any], toolkit: Mapping[str, Any]) -> str:
    """Return in words how a task gets the GPU that Swarm chose for it.

    :param toolkit: what the role container_toolkit plans for this host, empty where that is not part of the play.
    """
    config = parse(edited(host, found["daemon"], found["daemon"]["text"], Settings()))
    engine_default = found["engine"]["info"].get("DefaultRuntime")
    if not toolkit and "nvidia" not in (config.get("default-runtime"), engine_default):
        raise DockerPlanError(
            f"Docker on {host} does not have nvidia as its default runtime, and the role container_toolkit, which "
            f"would configure it, was not planned in this play. Nothing was changed. {_LIST_TOOLKIT}"
        )
    version = found["toolkit"]["version"] or toolkit.get("version")
    if version is None:
        if not toolkit:
            raise DockerPlanError(f"{host} has no NVIDIA Container Toolkit. Nothing was changed. {_LIST_TOOLKIT}")
        return "the NVIDIA Container Toolkit is not installed yet, and its version is not known"
    try:
        return swarm_way(version, found["toolkit"]["mode"], len(found["gpus"]))
    except ToolkitConfigError as error:
        raise DockerPlanError(f"On {host}: {error}. Nothing was changed.") from None


def plan_docker(host: str, found: Mapping[str, Any], *, toolkit_planned: bool) -> list[dict[str, Any]]:
    """Return the changes to Docker's and the toolkit's configuration.

    :param toolkit_planned: whether the role container_toolkit configures the runtime in this play.
    """
    wanted, daemon = found["wanted"], found["daemon"]
    runtime = settings_beside_flags(host, found, NVIDIA) if toolkit_planned else Settings()
    base = edited(host, daemon, daemon["text"], runtime)
    gpus = settings_beside_flags(host, found, Settings(kind=wanted["kind"], resources=uuids(found)))
    text = edited(host, daemon, base, gpus)
    config = parse(text)
    engine = found["engine"]
    running_with = engine["info"].get("LiveRestoreEnabled")
    where, mend = live_restore(daemon["path"], config, engine.get("flags"), running_with, host)
    if where:
        raise DockerPlanError(
            f"{where}, and Swarm does not work with it: Docker refuses the one where it has the other. Nothing was "
            f"changed. {mend}."
        )
    changes = [] if found["image"] else [change(IMAGE)]
    if text != base:
        changes.append(change(ADVERTISE, base, text, daemon["path"]))
    changes += plan_selection(host, found)
    in_force = {**gpus.wanted(config), **runtime.wanted(config)}
    with about_file(host, daemon):
        due = text != daemon["text"] or bool(not_in_effect(in_force, engine["info"]))
    if due:
        refuse_restart_of(host, found, text)
        restart_refusal(host, found["engine"], wanted["allow_restart"], "swarm_gpu_allow_restart")
        changes.append(change(RESTART))
    return changes


def plan_selection(host: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the change of ``swarm-resource`` in the toolkit's configuration."""
    present = found["toolkit"]["swarm_resource"]
    try:
        after = with_resource(present, variable(found["wanted"]["kind"]))
    except ToolkitConfigError as error:
        raise DockerPlanError(f"On {host}: {error}. Nothing was changed.") from None
    if after == present:
        return []
    line = 'swarm-resource = "{}"\n'.format
    before = "" if present is None else line(present)
    return [change(SELECT, before, line(after), "/etc/nvidia-container-runtime/config.toml")]


def variable(kind: str) -> str:
    """Return the variable that Swarm sets for a task that reserved a resource of this kind.

    >>> variable("gpu")
    'DOCKER_RESOURCE_GPU'
    """
    return f"DOCKER_RESOURCE_{kind.upper()}"


def steps_of(members: Members) -> dict[str, str]:
    """Return what each member has to do: ``stay``, ``enter``, or ``rejoin``, which is to leave another swarm first."""
    leader, *workers = members
    for host, found in members.items():
        if found["swarm"]["problem"]:
            raise DockerPlanError(f"On {host}: {found['swarm']['problem']}. Nothing was changed.")
    steps, here = {}, place_of(members[leader])
    cluster_id = None
    for host in (leader, *workers):
        found, wanted = members[host], members[host]["wanted"]
        own, rejoin = found["host"]["address"], wanted["allow_rejoin"]
        try:
            if host == leader:
                steps[host] = leader_step(here, own, allow_rejoin=rejoin)
                cluster_id = here.cluster_id if steps[host] == "stay" else None
            else:
                leads = members[leader]["host"]["address"]
                steps[host] = worker_step(place_of(found), cluster_id, own, leads, allow_rejoin=rejoin)
            if steps[host] == "rejoin":
                _may_leave(found)
        except SwarmError as error:
            end = "" if "Nothing was changed" in str(error) else " Nothing was changed."
            raise DockerPlanError(f"On {host}: {error}.{end}") from None
    return steps


def _may_leave(found: Mapping[str, Any]) -> None:
    services = found["swarm"]["services"]
    if services:
        raise SwarmError(
            f"services still run in the swarm: {', '.join(services)}. Nothing was changed. Remove them first "
            "(docker service rm, docker stack rm)"
        )


def entrance_problems(members: Members, steps: Mapping[str, str]) -> list[str]:
    """Return what is in the way of members that are yet to enter the swarm."""
    leader = next(iter(members))
    problems = []
    for host, found in members.items():
        own = found["host"]
        if steps[host] != "stay":
            late = clock_problem(own["clock"], members[leader]["host"]["clock"])
            if late:
                problems.append(f"On {host}: {late}.")
            if not own["resolves"]:
                problems.append(
                    f"On {host}: its own name, {own['hostname']!r}, does not resolve. Nothing was changed. Put it into "
                    f"/etc/hosts (127.0.1.1 {own['hostname']})."
                )
    return problems


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def refuse_foreign_networks(members: Members) -> None:
    """Refuse a name that means an address which the swarm is not to be made on, unless a member advertises it already.

    A host publishes all of its addresses under its own name (avahi), and may find Docker's or the fabric's there. Who
    gives such an address itself has asked for it.
    """
    networks = {
        "docker": "Docker's own network, which no other host reaches",
        "fabric": "a link of the fabric, where a pulled cable ends what runs",
    }
    problems = []
    for host, found in members.items():
        name, own, advertised = found["wanted"]["advertise_address"], found["host"], found["host"]["advertised"]
        if advertised["of"] and not _is_address(name) and place_of(found).address != own["address"]:
            problems.append(
                f"On {host}: the name {name!r} means {own['address']} there, on {advertised['netdev']}, which is "
                f"{networks[advertised['of']]}. Set ansible_host or swarm_gpu_advertise_address "
                "to the host's address on the management network, or give this address itself where it is meant."
            )
    if problems:
        raise DockerPlanError(" ".join([*problems, "Nothing was changed."]))


def address_warnings(host: str, found: Mapping[str, Any]) -> list[str]:
    """Return what may take a host's advertised address away."""
    own = found["host"]
    if not own["advertised"]["dynamic"]:
        return []
    return [
        f"{host} advertises {own['address']} to the swarm, which {own['advertised']['netdev']} has by DHCP. With "
        f"another lease the host loses its place in the swarm, and what runs there. Reserve {own['address']} for it "
        "in the router, or give it a static address."
    ]


def resource_warnings(host: str, found: Mapping[str, Any]) -> list[str]:
    """Return the GPUs that a host advertises under another kind too: Swarm would give one of them to two tasks."""
    entries = parse(found["daemon"]["text"]).get(RESOURCES)
    kind, gpus = found["wanted"]["kind"], uuids(found)
    flags = (found["engine"].get("flags") or {}).get(RESOURCES) or []
    given = [entry for entry in [*(entries if isinstance(entries, list) else []), *flags] if isinstance(entry, str)]
    others = [
        entry for entry in given if entry.partition("=")[2].strip() in gpus and entry.split("=")[0].strip() != kind
    ]
    if not others:
        return []
    return [
        f"{host} advertises a GPU as {', '.join(others)} beside {kind}, so that Swarm can give it to two tasks. Take "
        f"that out of {RESOURCES} in {found['daemon']['path']}, or advertise that kind alone (spark_gpu_kind)."
    ]


def network_problems(members: Members, steps: Mapping[str, str]) -> list[str]:
    """Return which networks of the swarm meet networks of the hosts."""
    leader = next(iter(members))
    pool = members[leader]["wanted"]["address_pool"]
    subnets = members[leader]["swarm"]["networks"] if steps[leader] == "stay" else [pool] if pool else []
    problems = []
    for host, found in members.items():
        routes = [(ipaddress.IPv4Network(network), interface) for network, interface in found["host"]["routes"]]
        try:
            met = collisions(subnets, routes)
        except SwarmError as error:
            raise DockerPlanError(f"On {host}: {error}. Nothing was changed.") from None
        if met:
            problems.append(
                f"On {host}: networks of the swarm meet networks of this host: {'; '.join(met)}. Nothing was changed. "
                "Create the swarm anew with another pool (swarm_gpu_address_pool), or renumber the host's network."
            )
    return problems


def refuse_duplicates(members: Members) -> None:
    """Refuse members that share an address or a host name."""
    addresses = [found["host"]["address"] for found in members.values()]
    hostnames = [found["host"]["hostname"] for found in members.values()]
    if len(set(addresses)) < len(members) or len(set(hostnames)) < len(members):
        raise DockerPlanError(
            f"Members of a swarm need addresses and host names of their own, and {', '.join(members)} have "
            f"{', '.join(addresses)} and {', '.join(hostnames)}. Nothing was changed. Give each its own "
            "swarm_gpu_advertise_address, and its own name (hostnamectl set-hostname)."
        )


def rules_of(others: Sequence[str]) -> list[dict[str, Any]]:
    """Return the firewall rules that let other members reach the swarm's ports, as M(ufw_rules) takes them."""
    return [
        {"from_ip": list(others), "to_port": TCP_PORTS, "proto": "tcp"},
        {"from_ip": list(others), "to_port": UDP_PORTS, "proto": "udp"},
    ]


def plan_firewall(host: str, found: Mapping[str, Any], others: Sequence[str]) -> list[dict[str, Any]]:
    """Return the change of the firewall."""
    firewall, state = found["wanted"]["firewall"], found["ufw"]
    if not (firewall == "ufw" or (firewall == "auto" and state["enabled"])):
        return []
    wanted = [text for rule in rules_of(others) for text in ufw.spread({"rule": "allow", "to_ip": ["any"], **rule})]
    if wanted and not state["installed"]:
        raise DockerPlanError(
            f"swarm_gpu_firewall is ufw, and {host} has no ufw. Nothing was changed. Install ufw, or leave "
            "swarm_gpu_firewall at auto."
        )
    there = ufw.parse(state["rules"])
    try:
        todo = ufw.steps(there, wanted, COMMENT)
    except ufw.UfwError as error:
        raise DockerPlanError(f"On {host}: {error}.") from None
    if not any(todo):
        return []
    return [change(FIREWALL, *ufw.difference(there, todo, COMMENT), "ufw")]


def plan_labels(members: Members, steps: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the change of the nodes' labels, which the leader makes."""
    leader = next(iter(members))
    nodes = {node["ID"]: node for node in members[leader]["swarm"]["nodes"]} if steps[leader] == "stay" else {}
    ours = [place_of(members[host]).node_id or "" for host in members if steps[host] == "stay"]
    before, after = [], []
    for rank, (host, found) in enumerate(members.items()):
        node = nodes.get(place_of(found).node_id or "") if steps[host] == "stay" else None
        present = (node["Spec"].get("Labels") or {}) if node else {}
        before += _labels(host, present)
        after += _labels(host, with_labels(present, rank_labels(rank)))
    hostnames = [found["host"]["hostname"] for found in members.values()] if nodes else []
    for node in leftovers(list(nodes.values()), ours, hostnames):
        before.append(f"former member {(node.get('Description') or {}).get('Hostname') or 'unknown'} ({node['ID']})")
    if before == after:
        return []
    return [change(LABEL, text_of(before), text_of(after), "nodes of the swarm")]


def ready_nodes(members: Members, steps: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return by host its node's ``node_id``, ``address`` and ``rank``; empty unless all are ready, with their GPUs."""
    leader = next(iter(members))
    known = {node["ID"]: node for node in members[leader]["swarm"]["nodes"]}
    ready = {}
    for rank, (host, found) in enumerate(members.items()):
        node = known.get(place_of(found).node_id or "") if steps[host] == "stay" else None
        if not node or node_problems(node, found["wanted"]["kind"], uuids(found), found["host"]["address"]):
            return {}
        ready[host] = {"node_id": node["ID"], "address": address_of(node), "rank": rank}
    return ready


def _labels(host: str, labels: Mapping[str, str]) -> list[str]:
    return [f"{host}: {key}={value}" for key, value in sorted(labels.items())]


def plan_swarm(members: Members, steps: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Return by host the changes of firewall, membership and labels."""
    leader = next(iter(members))
    addresses = {host: found["host"]["address"] for host, found in members.items()}
    planned: dict[str, list[dict[str, Any]]] = {}
    for host, found in members.items():
        others = [address for name, address in addresses.items() if name != host]
        planned[host] = plan_firewall(host, found, others)
        if steps[host] != "stay":
            name = CREATE if host == leader else JOIN
            place = place_of(found)
            before = f"{place.in_words()}\n" if place.active else ""
            after = f"swarm of {leader} ({addresses[leader]}), advertised address {addresses[host]}\n"
            planned[host].append(change(name, before, after, "swarm"))
    planned[leader] += plan_labels(members, steps)
    return planned


def plan(members: Members, toolkit: Mapping[str, Mapping[str, Any]], host: str) -> dict[str, Any]:
    """Return the plan of the role swarm_gpu, as seen by one host.

    :param members: by host, the leader first, what M(sparkops.dgx_spark.swarm_gpu_info) found.
    :param toolkit: ``hosts`` of the plan of the role container_toolkit, empty where that is not part of the play.
    :param host: the host.
    :raises DockerPlanError: where a host cannot become what is asked for.
    """
    unread(members)
    for name, found in members.items():
        refuse_rootless(name, found)
    kinds = {found["wanted"]["kind"] for found in members.values()}
    if len(kinds) > 1:
        raise DockerPlanError(
            f"swarm_gpu_kind is {' and '.join(sorted(kinds))} on different members. Nothing was changed. Set one kind."
        )
    selection = {name: gpu_selection(name, found, toolkit.get(name) or {}) for name, found in members.items()}
    docker = {name: plan_docker(name, found, toolkit_planned=name in toolkit) for name, found in members.items()}
    refuse_foreign_networks(members)
    refuse_duplicates(members)
    steps = steps_of(members)
    problems = [
        *entrance_problems(members, steps),
        *network_problems(members, steps),
    ]
    if problems:
        raise DockerPlanError(" ".join(problems))
    swarm = plan_swarm(members, steps)
    addresses = {name: found["host"]["address"] for name, found in members.items()}
    return {
        "changes": {name: [*docker[name], *swarm[name]] for name in members},
        "kind": kinds.pop(),
        "gpus": {name: uuids(found) for name, found in members.items()},
        "gpu_selection": selection,
        "images": {name: found["image"] for name, found in members.items()},
        "addresses": addresses,
        "node_ids": {
            name: place_of(found).node_id if steps[name] == "stay" else None for name, found in members.items()
        },
        "nodes": ready_nodes(members, steps),
        "steps": steps,
        "entering": any(step != "stay" for step in steps.values()),
        "in_swarm": [name for name, step in steps.items() if step != "enter"],
        "closed": [name for name, changes in swarm.items() if any(one["name"] == FIREWALL for one in changes)],
        "address_later": any(found["wanted"]["address_later"] for found in members.values()),
        "networks": sorted({network for found in members.values() for network, _interface in found["host"]["routes"]}),
        "warnings": [
            *address_warnings(host, members[host]),
            *resource_warnings(host, members[host]),
            *([] if host in toolkit else engine_warnings(host, members[host])),  # which that role's plan has
        ],
        "rules": rules_of([address for name, address in addresses.items() if name != host]),
    }
