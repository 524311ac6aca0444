#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_swarm_gpu_check
short_description: Check that every node of a swarm is ready and offers exactly its GPUs
version_added: 0.1.0
description:
  - >-
    Runs on a manager. Waits until each node is ready, at its address, and offers exactly its own GPUs as generic
    resources, and fails, naming the host and the problem, where one does not.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.docker
options:
  members:
    description: Names of the hosts in the order of their ranks, the leader first.
    type: list
    elements: str
    required: true
  node_ids:
    description: By name of the host, the ID of its node.
    type: dict
    required: true
  kind:
    description: The kind of the generic resource.
    type: str
    required: true
  resources:
    description: By name of the host, a list of the resources that its node has to offer.
    type: dict
    required: true
  addresses:
    description: By name of the host, the address at which its node has to be. Not checked where it is not given.
    type: dict
    default: {}
  timeout:
    description: How many seconds to wait for the nodes.
    type: int
    default: 60
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Check the nodes and their GPUs
  sparkops.dgx_spark.docker_swarm_gpu_check:
    members: [spark1]
    node_ids: {spark1: v7zy1pzz7yxxzn5k3afs3i4s9}
    kind: gpu
    resources:
      spark1: [GPU-e793e0a4-fd41-dcd8-a833-3127370a6779]
"""

RETURN = r"""
nodes:
  description: By name of the host its C(node_id), C(address) and C(rank).
  returned: success
  type: dict
  sample: {spark1: {node_id: v7zy1pzz7yxxzn5k3afs3i4s9, address: 192.168.1.21, rank: 0}}
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import SOCKET_OPTION, Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm import (
    SwarmError,
    address_of,
    node_problems,
    wait_until_solved,
)


def problems(docker: Docker, asked: dict[str, Any]) -> list[str]:
    """Return what keeps the members from being ready, each with its own resources."""
    found = []
    for member in asked["members"]:
        node = docker.ask("GET", f"/nodes/{asked['node_ids'][member]}")
        address = asked["addresses"].get(member)
        found += [
            f"{member} {what}" for what in node_problems(node, asked["kind"], asked["resources"][member], address)
        ]
    return found


def nodes_of(docker: Docker, asked: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the node of each member."""
    found = {}
    for rank, member in enumerate(asked["members"]):
        node = docker.ask("GET", f"/nodes/{asked['node_ids'][member]}")
        found[member] = {"node_id": node["ID"], "address": address_of(node), "rank": rank}
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "members": {"type": "list", "elements": "str", "required": True},
            "node_ids": {"type": "dict", "required": True},
            "kind": {"type": "str", "required": True},
            "resources": {"type": "dict", "required": True},
            "addresses": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 60},
            **SOCKET_OPTION,
        },
        supports_check_mode=True,
    )
    asked = module.params
    docker = Docker(asked["docker_socket"])
    outside = [member for member in asked["members"] if not asked["node_ids"].get(member)]
    if outside:
        module.fail_json(msg=f"{', '.join(outside)} is in no swarm: run the role swarm_gpu")
    try:
        wait_until_solved(asked["timeout"], partial(problems, docker, asked))
        nodes = nodes_of(docker, asked)
    except (SwarmError, DockerError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, nodes=nodes)


if __name__ == "__main__":
    main()
