#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_swarm_nodes
short_description: Label the nodes of a swarm by rank, and remove former members
version_added: 0.1.0
description:
  - Runs on a manager. Labels each node with its rank (C(dgx_spark.rank)) and role (C(dgx_spark.role)).
  - >-
    A node that is a member no more, which carries these labels or the name of a member's host, is removed from the
    swarm by its ID if it is down; if it is up it is drained and loses the labels.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.docker
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) is what is described above.
      - V(absent) removes the labels from all nodes of the swarm, if there is one.
      - V(drained) has the nodes of O(members) run nothing any more, and waits until they do not.
      - V(removed) removes the nodes of O(members), which have left, from the swarm.
    type: str
    choices: [present, absent, drained, removed]
    default: present
  members:
    description: Names of the hosts in the order of their ranks, the leader first. Required unless O(state=absent).
    type: list
    elements: str
  node_ids:
    description: >-
      By name of the host, the ID of its node, as M(sparkops.dgx_spark.docker_swarm_member) returns it. Null, in check
      mode alone, for one that is yet to join. Required unless O(state=absent).
    type: dict
  timeout:
    description: How many seconds to wait for nodes to run nothing, or to leave.
    type: int
    default: 60
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Label the nodes
  sparkops.dgx_spark.docker_swarm_nodes:
    members: [spark1, spark2]
    node_ids: {spark1: v7zy1pzz7yxxzn5k3afs3i4s9, spark2: x2p0dtzm6ytpdjm35sfl7qbt1}
"""

RETURN = r"""
nodes:
  description: What the manager knows of each node, in the order of ranks.
  returned: success
  type: list
  elements: dict
  contains:
    member:
      description: Name of the host.
      type: str
      sample: spark1
    node_id:
      description: ID of its node.
      type: str
      sample: v7zy1pzz7yxxzn5k3afs3i4s9
    labels:
      description: Its labels, after a change.
      type: dict
      sample: {dgx_spark.rank: "0", dgx_spark.role: leader}
removed:
  description: IDs of the nodes that were removed from the swarm.
  returned: success
  type: list
  elements: str
  sample: []
drained:
  description: IDs of the nodes that run nothing any more.
  returned: success
  type: list
  elements: str
  sample: []
"""

import contextlib
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    SOCKET_OPTION,
    Docker,
    DockerError,
    reads_answers,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm import (
    SwarmError,
    is_down,
    leftovers,
    rank_labels,
    wait_until_solved,
    with_labels,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm_update import update


def label(docker: Docker, node_id: str, wanted: dict[str, str], *, there: bool) -> None:
    """Give a node its labels, or take them away."""
    update(
        docker,
        f"/nodes/{node_id}",
        lambda spec: {**spec, "Labels": with_labels(spec.get("Labels"), wanted, there=there)},
    )


def drain(docker: Docker, node_id: str) -> None:
    """Have a node run nothing any more, and remove its labels."""
    labels = rank_labels(0)
    update(
        docker,
        f"/nodes/{node_id}",
        lambda spec: {
            **spec,
            "Availability": "drain",
            "Labels": with_labels(spec.get("Labels"), labels, there=False),
        },
    )


def remove(docker: Docker, node_id: str) -> None:
    """Take a node that is down out of the swarm."""
    with contextlib.suppress(DockerError):  # a manager must be a worker first
        update(docker, f"/nodes/{node_id}", lambda spec: {**spec, "Role": "worker"})
    docker.ask("DELETE", f"/nodes/{node_id}?force=1")


def still_runs(docker: Docker, node_ids: dict[str, str]) -> list[str]:
    """Return the nodes on which tasks run."""
    busy = {task.get("NodeID") for task in docker.ask("GET", "/tasks") if task["Status"]["State"] == "running"}
    return [f"tasks still run on {member}" for member, node_id in node_ids.items() if node_id in busy]


def not_down(docker: Docker, node_ids: dict[str, str]) -> list[str]:
    """Return the nodes that have not left yet, as far as the manager knows."""
    down = {node["ID"] for node in docker.ask("GET", "/nodes") if is_down(node)}
    return [f"{member} has not left" for member, node_id in node_ids.items() if node_id not in down]


def clear(docker: Docker, asked: dict[str, Any], *, check: bool) -> dict[str, list[str]]:
    """Remove or drain the nodes that are members no more."""
    ours = [node_id for node_id in asked["node_ids"].values() if node_id]
    nodes = docker.ask("GET", "/nodes") if ours else []
    hosts = {hostname(node) for node in nodes if node["ID"] in ours}
    done: dict[str, list[str]] = {"removed": [], "drained": []}
    for node in leftovers(nodes, ours):
        gone = is_down(node)
        if hostname(node) in hosts:  # a member's host, before it joined anew: the manager will notice that it left
            gone = True
            if not check:
                wait_until_solved(asked["timeout"], partial(not_down, docker, {hostname(node): node["ID"]}))
        done["removed" if gone else "drained"].append(node["ID"])
        if not check:
            (remove if gone else drain)(docker, node["ID"])
    return done


def hostname(node: dict[str, Any]) -> str:
    """Return the name of a node's host."""
    return (node.get("Description") or {}).get("Hostname", "")


def find(docker: Docker, asked: dict[str, Any], *, check: bool) -> list[dict[str, Any]]:
    """Return the nodes to label, with the names that the labels go by."""
    if asked["state"] == "absent":
        if not docker.info()["Swarm"].get("ControlAvailable"):
            return []
        return [{"member": hostname(node), "rank": 0, "node": node} for node in docker.ask("GET", "/nodes")]
    found = []
    for rank, member in enumerate(asked["members"]):
        node_id = asked["node_ids"].get(member)
        if not node_id and not check:
            raise SwarmError(f"{member} is in no swarm, so it has no node to label")
        node = docker.ask("GET", f"/nodes/{node_id}") if node_id else {"ID": None, "Spec": {}}
        found.append({"member": member, "rank": rank, "node": node})
    return found


@reads_answers
def take_out(docker: Docker, asked: dict[str, Any], *, check: bool) -> dict[str, list[str]]:
    """Drain the members' nodes, or remove them."""
    manages = docker.info()["Swarm"].get("ControlAvailable")
    known = {node["ID"]: node for node in (docker.ask("GET", "/nodes") if manages else [])}
    ids = {member: asked["node_ids"].get(member) for member in asked["members"]}
    ids = {member: node_id for member, node_id in ids.items() if node_id in known}
    done: dict[str, list[str]] = {"removed": [], "drained": []}
    if asked["state"] == "removed":
        if not check:
            wait_until_solved(asked["timeout"], partial(not_down, docker, ids))
            for node_id in ids.values():
                remove(docker, node_id)
        return {**done, "removed": sorted(ids.values())}
    busy = {node_id for node_id in ids.values() if known[node_id]["Spec"].get("Availability") != "drain"}
    if not check:
        for node_id in busy:
            drain(docker, node_id)
        wait_until_solved(asked["timeout"], partial(still_runs, docker, ids))
    return {**done, "drained": sorted(busy)}


@reads_answers
def place(docker: Docker, asked: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """Label the nodes, or remove the labels."""
    there = asked["state"] == "present"
    nodes, before, after = [], {}, {}
    done = clear(docker, asked, check=check) if there else {"removed": [], "drained": []}
    for one in find(docker, asked, check=check):
        member, node, ours = one["member"], one["node"], rank_labels(one["rank"])
        before[member] = node["Spec"].get("Labels") or {}
        after[member] = with_labels(before[member], ours, there=there)
        if before[member] != after[member] and not check:
            label(docker, node["ID"], ours, there=there)
        nodes.append({"member": member, "node_id": node["ID"], "labels": after[member]})
    changed = before != after or any(done.values())
    return {"changed": changed, "nodes": nodes, "diff": {"before": before, "after": after}, **done}


def main() -> None:
    """Run the module."""
    named = ["members", "node_ids"]
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent", "drained", "removed"], "default": "present"},
            "members": {"type": "list", "elements": "str"},
            "node_ids": {"type": "dict"},
            "timeout": {"type": "int", "default": 60},
            **SOCKET_OPTION,
        },
        required_if=[
            ("state", "present", named),
            ("state", "drained", named),
            ("state", "removed", named),
        ],
        supports_check_mode=True,
    )
    asked = module.params
    docker = Docker(asked["docker_socket"])
    try:
        if asked["state"] in ("drained", "removed"):
            done = take_out(docker, asked, check=module.check_mode)
            module.exit_json(changed=any(done.values()), nodes=[], **done)
        module.exit_json(**place(docker, asked, check=module.check_mode))
    except (SwarmError, DockerError) as exc:
        module.fail_json(msg=str(exc))


if __name__ == "__main__":
    main()
