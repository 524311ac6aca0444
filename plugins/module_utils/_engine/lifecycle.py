# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it takes to stop, to start and to restart what is configured to be served. Pure functions.

The launchers themselves keep what was stopped from coming back: a Swarm's services with no replicas, a disabled unit.

This module util is private to the collection.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, instances
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change

STOP, START, RESTART = ACTIONS = ("stop", "start", "restart")
#: the names of the tasks that make the changes
STOP_ENGINE, START_ENGINE = "Stop the engine", "Start the engine"
RUNS = ("active", "activating")  #: states of a unit that starts or runs its container
IN_NO_SWARM = ("", "inactive")  #: states of a node
BEYOND_A_LOAD_S = 300  #: that a play waits for one start: the supervisor ends its load, and says why, before
MEND = "run the playbook that serves (serve.yml, two_spark.yml or single_spark.yml)"


class LifecycleError(ValueError):
    """What was asked for cannot be done. The message names host, value, cause and mend."""


def services(name: str, members: int) -> dict[str, int]:
    """How many containers each service of a stack is to have.

    >>> services("dgx-spark-trtllm", 3), services("dgx-spark-trtllm", 1)
    ({'dgx-spark-trtllm_leader': 1, 'dgx-spark-trtllm_worker': 2}, {'dgx-spark-trtllm_leader': 1})
    """
    leader, worker = {f"{name}_leader": 1}, {f"{name}_worker": members - 1}
    return {**leader, **worker} if members > 1 else leader


def scaled_down(wanted: Mapping[str, int], replicas: Mapping[str, int]) -> list[str]:
    """The services that have fewer containers than they are to have.

    :param replicas: what the Swarm says; a service of which it says nothing has all.

    >>> scaled_down({"a": 1, "b": 2}, {"a": 1, "b": 1}), scaled_down({"a": 1}, {})
    (['b'], [])
    """
    return [name for name, count in wanted.items() if replicas.get(name, count) < count]


@dataclass(frozen=True)
class Configured:
    """What is configured to be served, as its leader has it."""

    cluster: Mapping[str, Any]
    launcher: str
    layout: Mapping[str, str]

    @property
    def members(self) -> list[str]:
        """The names, leader first."""
        return [node["name"] for node in self.cluster["nodes"]]

    @property
    def wanted(self) -> dict[str, int]:
        """How many containers each service of the stack is to have."""
        return services(self.layout["name"], len(self.members))


def parsed(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A JSON file of the configuration; empty where there is none, or half of one.

    :param found: as engine_host_info returns it.
    """
    entry = found["entries"].get(f"{found['layout']['config_dir']}/{name}", {})
    try:
        value = json.loads(entry.get("content") or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def configured(found: Mapping[str, Mapping[str, Any]], members: Sequence[str], alone: bool = False) -> Configured:
    """What is configured to be served. :raises LifecycleError: where there is nothing, or where not all of it is here.

    :param found: by host, as engine_host_info returns it. :param members: leader first.
    :param alone: whether the leader alone is asked.
    """
    leader = members[0]
    own = found[leader]
    cluster, places = parsed(own, contract.CLUSTER), own["layout"]
    if not cluster.get("nodes"):
        raise LifecycleError(_nothing(leader, own))
    launcher = instances.SWARM if _there(own, places["stack"]) else instances.SYSTEMD
    one = Configured(cluster, launcher, places)
    if one.members[0] != leader:
        raise LifecycleError(
            f"{leader} is the first Spark of this run, and {one.members[0]} leads what is served: give the inventory "
            "that it was served with"
        )
    for name in one.members if not alone else [leader]:
        if name not in found:
            raise LifecycleError(
                f"{name} has a rank of what {leader} serves, and is not in this run: give the inventory that it was "
                "served with, without --limit"
            )
        if found[name]["docker"].get("problem"):
            raise LifecycleError(f"{name}: {found[name]['docker']['problem']}")
    return one


def _nothing(leader: str, own: Mapping[str, Any]) -> str:
    others = [instances.called(other["instance"]) for other in own.get("others", [])]
    there = f"name one that is there (spark_instance; {' and '.join(others)}), or " if others else ""
    return f"{leader} has no configuration of {instances.called(own['layout']['instance'])}: {there}{MEND}"


def _there(own: Mapping[str, Any], path: str) -> bool:
    return bool(own["entries"].get(path, {}).get("kind", "absent") != "absent")


def changes(
    one: Configured, found: Mapping[str, Mapping[str, Any]], action: str, alone: bool = False
) -> dict[str, list[dict[str, Any]]]:
    """By host the changes, in their order. :raises LifecycleError: where nothing could be started, or kept stopped.

    :param action: one of ``ACTIONS``. :param alone: whether the leader alone is stopped.
    """
    names = one.members if not alone else one.members[:1]
    planned: dict[str, list[dict[str, Any]]] = {name: [] for name in found}
    if action == STOP:
        refuse_stop(one, names[0], found[names[0]], alone)
    for name in names:
        stops = action != START and not is_stopped(one, name, found[name], alone)
        if action != STOP:
            refuse_start(one, name, found[name])
        starts = action == RESTART and (one.launcher == instances.SYSTEMD or name == names[0])
        if action == START:
            starts = has_to_start(one, name, found[name])
        planned[name] = [change(words) for words, due in ((STOP_ENGINE, stops), (START_ENGINE, starts)) if due]
    return planned


def is_stopped(one: Configured, name: str, own: Mapping[str, Any], alone: bool = False) -> bool:
    """Whether a member has ended, will not come back by itself, and says so in its state."""
    state, docker = own["state"], own["docker"]
    if (state.get("phase"), state.get("reason")) != (contract.STOPPED, contract.BY_STOP):
        return False
    if one.launcher == instances.SWARM:
        replicas = docker.get("replicas", {})
        kept = [service for service, count in replicas.items() if count and service in services_of(one, alone)]
        runs = any(each["state"] == "running" for each in docker.get("stack_containers", []))
        return not runs and not (kept and name == one.members[0])
    runs = own["unit"]["active"] not in ("inactive", "failed", "") or docker["container"].get("state") == "running"
    return not runs and not _there(own, one.layout["unit_link"])


def services_of(one: Configured, alone: bool) -> list[str]:
    """The services that are stopped, the leader's first."""
    return list(one.wanted)[:1] if alone else list(one.wanted)


def has_to_start(one: Configured, name: str, own: Mapping[str, Any]) -> bool:
    """Whether a member was stopped, or its supervisor gave up."""
    if one.launcher == instances.SWARM:
        gave_up = own["state"].get("phase") == contract.GAVE_UP
        return name == one.members[0] and (gave_up or bool(scaled_down(one.wanted, own["docker"].get("replicas", {}))))
    return own["unit"]["active"] not in RUNS or not _there(own, one.layout["unit_link"])


def starts_anew(launcher: str, wanted: Mapping[str, int], own: Mapping[str, Any]) -> bool:
    """Whether a start of the engine begins another supervisor on the leader.

    One that waits for a worker goes on when that is back, and its state is of this start, too.

    :param wanted: by service how many containers it is to have, the leader's first. :param own: of the leader.
    """
    if launcher != instances.SWARM:
        return own["unit"]["active"] not in RUNS
    down = scaled_down(wanted, own["docker"].get("replicas", {}))
    return own["state"].get("phase") == contract.GAVE_UP or next(iter(wanted)) in down


def refuse_stop(one: Configured, leader: str, own: Mapping[str, Any], alone: bool) -> None:
    """Refuse to stop what a Swarm would start again. :raises LifecycleError: with the mend."""
    swarm = own["docker"]["swarm"]
    state = swarm.get("state", "")
    if one.launcher == instances.SWARM and not swarm.get("manager") and state not in IN_NO_SWARM:
        scale = " ".join(f"{service}=0" for service in services_of(one, alone))
        raise LifecycleError(
            f"{leader} is no manager of the Swarm that it is in ({state}), which starts again what is ended here: "
            f"run 'docker service scale {scale}' on a manager instead, or make this node one by 'docker node promote' "
            "there, and stop again"
        )


def refuse_start(one: Configured, name: str, own: Mapping[str, Any]) -> None:
    """Refuse to start what is not whole. :raises LifecycleError: with the mend."""
    docker, places = own["docker"], one.layout
    if own.get("kept"):
        raise LifecycleError(
            f"{name} has files of two configurations, since a play was interrupted while it put another one in place: "
            f"{MEND} again, which brings that to an end"
        )
    if one.launcher == instances.SWARM:
        missing = [service for service in one.wanted if service not in docker.get("services", {})]
        if name == one.members[0] and missing:
            why = "" if docker["swarm"].get("manager") else ", which is no manager of a Swarm"
            raise LifecycleError(f"{name}{why} has no service {' and '.join(missing)}: {MEND}")
    elif not _there(own, places["unit_file"]):
        raise LifecycleError(f"{name} has no unit {places['unit']}: {MEND}")
    elif not docker["container"]:
        raise LifecycleError(f"{name} has no container {places['name']}: {MEND}")
    if not parsed(own, contract.NODE).get("name"):
        raise LifecycleError(f"{name} has no {contract.NODE} in {places['config_dir']}: {MEND}")
