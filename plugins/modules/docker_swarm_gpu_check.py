#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_swarm_gpu_check
short_description: Check that every node of a swarm offers exactly its GPUs, and that a task gets these
version_added: 0.1.0
description:
  - >-
    Runs on a manager. Waits until each node is ready, at its address, and offers exactly its own GPUs as generic
    resources, and fails, naming the host and the problem, where one does not.
  - >-
    With O(images), it then starts one short service on each node, with the node's free GPUs reserved and
    C(NVIDIA_MOFED) set. It fails, naming the host and what is missing, where a service does not see exactly the node's
    GPUs, or, if O(rdma), C(/dev/infiniband) and the asked limit of locked memory. The services are removed again.
  - Where a model has a node's GPUs nothing is reserved, and the service asks for all GPUs instead.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.docker
attributes:
  check_mode:
    support: partial
    details: The nodes are checked. No service is started.
  diff_mode:
    support: N/A
    details: This module leaves nothing behind.
  idempotent:
    support: full
    details: This module leaves nothing behind.
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
  images:
    description: >-
      By name of the host, the ID of an image that is on it and has a shell, such as
      M(sparkops.dgx_spark.docker_gpu_image) returns. By ID, since Swarm looks for a name in a registry. Without any, no
      service is started.
    type: dict
    default: {}
  rdma:
    description: Whether the services look at RDMA, too.
    type: bool
    default: true
  memlock:
    description: The limit of locked memory that is enough, in bytes, V(-1) for unlimited, which is what is asked for.
    type: int
    default: -1
  timeout:
    description: How many seconds to wait for the nodes, and for the services.
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

- name: Check what a task of Swarm gets, too
  sparkops.dgx_spark.docker_swarm_gpu_check:
    members: [spark1]
    node_ids: {spark1: v7zy1pzz7yxxzn5k3afs3i4s9}
    images: {spark1: "sha256:0d6f1b9c…"}
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
reserved:
  description: By name of the host, how many GPUs its service had reserved. Empty where none was started.
  returned: success
  type: dict
  sample: {spark1: 1}
"""

import contextlib
import time
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    SOCKET_OPTION,
    Docker,
    DockerError,
    reads_answers,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.gpu_probe import (
    LABEL,
    GpuProbeError,
    probe_service,
    reserved,
    task_problem,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm import (
    SwarmError,
    address_of,
    node_problems,
    wait_until_solved,
)


@reads_answers
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


@reads_answers
def nodes_of(docker: Docker, asked: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the node of each member."""
    found = {}
    for rank, member in enumerate(asked["members"]):
        node = docker.ask("GET", f"/nodes/{asked['node_ids'][member]}")
        found[member] = {"node_id": node["ID"], "address": address_of(node), "rank": rank}
    return found


@reads_answers
def start(docker: Docker, asked: dict[str, Any]) -> tuple[dict[str, str], dict[str, int]]:
    """Start the services; return their IDs and what they reserve."""
    tasks = docker.ask("GET", "/tasks")
    services, free = {}, {}
    for member in asked["members"]:
        node_id, gpus = asked["node_ids"][member], asked["resources"][member]
        free[member] = max(0, len(gpus) - reserved(tasks, node_id, asked["kind"]))
        if free[member] < len(gpus):
            free[member] = 0  # some have work: ask for all without reserving any
        service = probe_service(
            f"dgx-spark-probe-{node_id}",
            node_id,
            asked["images"][member],
            asked["kind"],
            gpus,
            reserve=free[member],
            rdma=asked["rdma"],
            memlock=asked["memlock"],
        )
        services[member] = docker.ask("POST", "/services/create", service)["ID"]
    return services, free


@reads_answers
def wait(docker: Docker, asked: dict[str, Any], services: dict[str, str]) -> None:
    """Wait until each has said what it saw."""
    deadline = time.monotonic() + asked["timeout"]
    while True:
        tasks = {task["ServiceID"]: task for task in docker.ask("GET", "/tasks")}
        said = {
            member: task_problem(tasks.get(service), asked["resources"][member], asked["memlock"])
            for member, service in services.items()
        }
        if None not in said.values():
            break
        if time.monotonic() >= deadline:
            said = {member: late(tasks, services[member]) if words is None else words for member, words in said.items()}
            break
        time.sleep(0.1)
    wrong = [f"on {member} a task {words}" for member, words in said.items() if words]
    if wrong:
        raise GpuProbeError(
            f"{'; '.join(wrong)}. RDMA devices come with the modules ib_uverbs, rdma_cm and mlx5_ib (lsmod) "
            "and the NVIDIA runtime, the limit of locked memory from Docker's own "
            "(systemctl show docker --property=LimitMEMLOCK)"
        )


def late(tasks: dict[str, Any], service: str) -> str:
    """Say where a task is that did not end in time."""
    status = tasks[service]["Status"] if service in tasks else {"State": "not there"}
    return (
        f"is {status['State']} after the time it had: {status.get('Err') or status.get('Message') or 'no reason said'}"
    )


@reads_answers
def clean(docker: Docker) -> None:
    """Remove the services, those of an interrupted run too."""
    for service in docker.ask("GET", "/services"):
        if (service["Spec"].get("Labels") or {}).get(LABEL) == "service":
            docker.ask("DELETE", f"/services/{service['ID']}")


def what_tasks_see(docker: Docker, asked: dict[str, Any]) -> dict[str, int]:
    """Check what a task gets on every node; return how many GPUs each had reserved."""
    clean(docker)
    try:
        services, free = start(docker, asked)
        wait(docker, asked, services)
    finally:
        with contextlib.suppress(DockerError):
            clean(docker)
    return free


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "members": {"type": "list", "elements": "str", "required": True},
            "node_ids": {"type": "dict", "required": True},
            "kind": {"type": "str", "required": True},
            "resources": {"type": "dict", "required": True},
            "addresses": {"type": "dict", "default": {}},
            "images": {"type": "dict", "default": {}},
            "rdma": {"type": "bool", "default": True},
            "memlock": {"type": "int", "default": -1},
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
        free = what_tasks_see(docker, asked) if asked["images"] and not module.check_mode else {}
    except (SwarmError, GpuProbeError, DockerError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, nodes=nodes, reserved=free)


if __name__ == "__main__":
    main()
