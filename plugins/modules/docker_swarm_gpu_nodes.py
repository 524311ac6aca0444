#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_swarm_gpu_nodes
short_description: Label the nodes of a swarm by rank, and see that each offers its GPUs
version_added: "0.1.0"
description:
  - Runs on a manager. Labels each node with its rank (C(dgx_spark.rank)) and role (C(dgx_spark.role)).
  - >-
    Then waits until each node is ready and offers exactly its own GPUs as generic resources, and fails, naming the
    host and what is wrong, where one does not.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description: V(absent) takes the labels from all nodes of the swarm, if there is one, and looks at nothing else.
    type: str
    choices: [present, absent]
    default: present
  members:
    description: Names of the hosts in the order of their ranks, the leader first. Required if O(state=present).
    type: list
    elements: str
  node_ids:
    description: >-
      By name of the host, the ID of its node, as M(sparkops.dgx_spark.docker_swarm_member) returns it. Null, in check
      mode alone, for one that is yet to join. Required if O(state=present).
    type: dict
  kind:
    description: The kind of the generic resource. Required if O(state=present).
    type: str
  resources:
    description: By name of the host, a list of the resources that its node has to offer. Required if O(state=present).
    type: dict
  timeout:
    description: How many seconds to wait for the nodes.
    type: int
    default: 60
  docker_socket:
    description: Where the engine listens.
    type: path
    default: /var/run/docker.sock
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Label the nodes, and see their GPUs
  sparkops.dgx_spark.docker_swarm_gpu_nodes:
    members: [spark1, spark2]
    node_ids: {spark1: v7zy1pzz7yxxzn5k3afs3i4s9, spark2: x2p0dtzm6ytpdjm35sfl7qbt1}
    kind: gpu
    resources:
      spark1: [GPU-e793e0a4-fd41-dcd8-a833-3127370a6779]
      spark2: [GPU-45cbf7b3-f919-7228-7a26-b06628ebefa1]
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
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker_api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._swarm import (
    SwarmError,
    rank_labels,
    shortcomings,
    with_labels,
)


def label(docker: Docker, node_id: str, wanted: dict[str, str], *, there: bool) -> None:
    """Give a node its labels, or take them away."""
    for attempt in range(5):
        node = docker.ask("GET", f"/nodes/{node_id}")
        labels = with_labels(node["Spec"].get("Labels"), wanted, there=there)
        try:
            docker.ask(
                "POST",
                f"/nodes/{node_id}/update?version={node['Version']['Index']}",
                {**node["Spec"], "Labels": labels},
            )
            return
        except DockerError as exc:
            # A node that has just joined is still being written by the swarm itself.
            if "update out of sequence" not in str(exc) or attempt == 4:
                raise
            time.sleep(0.5)


def wait(docker: Docker, wish: dict[str, Any]) -> None:
    """Wait until each node is ready with its own resources."""
    deadline = time.monotonic() + wish["timeout"]
    while True:
        wrong = []
        for member in wish["members"]:
            node = docker.ask("GET", f"/nodes/{wish['node_ids'][member]}")
            wrong += [f"{member} {what}" for what in shortcomings(node, wish["kind"], wish["resources"][member])]
        if not wrong:
            return
        if time.monotonic() >= deadline:
            raise SwarmError(f"after {wish['timeout']} s the swarm is not complete: {'; '.join(wrong)}")
        time.sleep(1)


def find(docker: Docker, wish: dict[str, Any], *, check: bool) -> list[dict[str, Any]]:
    """Return the nodes to label, with the names that the labels go by."""
    if wish["state"] == "absent":
        if not docker.info()["Swarm"].get("ControlAvailable"):
            return []
        return [
            {"member": node["Description"]["Hostname"], "rank": 0, "node": node} for node in docker.ask("GET", "/nodes")
        ]
    found = []
    for rank, member in enumerate(wish["members"]):
        node_id = wish["node_ids"].get(member)
        if not node_id and not check:
            raise SwarmError(f"{member} is in no swarm, so it has no node to label")
        node = docker.ask("GET", f"/nodes/{node_id}") if node_id else {"ID": None, "Spec": {}}
        found.append({"member": member, "rank": rank, "node": node})
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "members": {"type": "list", "elements": "str"},
            "node_ids": {"type": "dict"},
            "kind": {"type": "str"},
            "resources": {"type": "dict"},
            "timeout": {"type": "int", "default": 60},
            "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
        },
        required_if=[("state", "present", ["members", "node_ids", "kind", "resources"])],
        supports_check_mode=True,
    )
    wish = module.params
    docker = Docker(wish["docker_socket"])
    there = wish["state"] == "present"
    nodes, before, after = [], {}, {}
    try:
        for one in find(docker, wish, check=module.check_mode):
            member, node, ours = one["member"], one["node"], rank_labels(one["rank"])
            before[member] = node["Spec"].get("Labels") or {}
            after[member] = with_labels(before[member], ours, there=there)
            if before[member] != after[member] and not module.check_mode:
                label(docker, node["ID"], ours, there=there)
            nodes.append({"member": member, "node_id": node["ID"], "labels": after[member]})
        if there and not module.check_mode:
            wait(docker, wish)
    except (SwarmError, DockerError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=before != after, nodes=nodes, diff={"before": before, "after": after})


if __name__ == "__main__":
    main()
