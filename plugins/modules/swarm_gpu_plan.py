#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_gpu_plan
short_description: Plan a Docker Swarm that hands out the GPUs of its members
version_added: 0.1.0
description:
  - >-
    Compares what M(sparkops.dgx_spark.swarm_gpu_info) found on every member with what the role C(swarm_gpu) is asked
    for, and lists the changes for each.
  - Fails, with nothing changed, where a host cannot become that.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  members:
    description: By host what M(sparkops.dgx_spark.swarm_gpu_info) found, the leader first.
    type: dict
    required: true
  toolkit:
    description: >-
      C(hosts) of the plan of the role C(container_toolkit) in the same play. Empty where Docker has the NVIDIA runtime
      already.
    type: dict
    default: {}
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan the swarm
  sparkops.dgx_spark.swarm_gpu_plan:
    members: "{{ dict(names | zip(names | map('extract', hostvars, 'found'))) }}"
  vars:
    names: "{{ groups['spark'] }}"
  register: swarm_gpu_plan
"""

RETURN = r"""
changes:
  description: By host the list of changes, each with its C(name) and, where a text changes, its C(diff).
  returned: success
  type: dict
  sample: {spark1: [{name: Restart Docker}]}
kind:
  description: The kind of generic resource that a GPU is.
  returned: success
  type: str
  sample: gpu
gpus:
  description: By host the UUIDs of its GPUs.
  returned: success
  type: dict
  sample: {spark1: [GPU-e793e0a4-fd41-dcd8-a833-3127370a6779]}
gpu_selection:
  description: By host, in words, how a task gets the GPU that Swarm chose for it.
  returned: success
  type: dict
  sample: {spark1: "NVIDIA Container Toolkit 1.19.0 in mode 'auto': it reads DOCKER_RESOURCE_<KIND>, …"}
images:
  description: By host the ID of the image for the check of Swarm's tasks, null where it is yet to be created.
  returned: success
  type: dict
  sample: {spark1: "sha256:0d6f1b9c…"}
addresses:
  description: By host the address that it advertises.
  returned: success
  type: dict
  sample: {spark1: 192.168.1.21}
node_ids:
  description: By host the ID of its node, null where it is yet to enter the swarm.
  returned: success
  type: dict
  sample: {spark1: v7zy1pzz7yxxzn5k3afs3i4s9}
nodes:
  description: >-
    By host the C(node_id), C(address) and C(rank) of its node, where every member's node is ready at its address and
    offers exactly its own GPUs. Else empty.
  returned: success
  type: dict
  sample: {spark1: {node_id: v7zy1pzz7yxxzn5k3afs3i4s9, address: 192.168.1.21, rank: 0}}
steps:
  description: By host V(stay), V(enter) or V(rejoin), which is to leave another swarm first.
  returned: success
  type: dict
  sample: {spark1: stay}
entering:
  description: Whether a member is yet to enter the swarm.
  returned: success
  type: bool
  sample: false
in_swarm:
  description: The members that are in a swarm, this or another.
  returned: success
  type: list
  elements: str
  sample: [spark1]
closed:
  description: The members whose firewall is yet to allow the others.
  returned: success
  type: list
  elements: str
  sample: []
address_later:
  description: Whether another role of the same run gives an address that a member advertises.
  returned: success
  type: bool
  sample: false
networks:
  description: The networks of all members.
  returned: success
  type: list
  elements: str
  sample: [192.168.1.0/24]
warnings:
  description: >-
    What may take this host's advertised address away, which is a lease of DHCP; GPUs that it advertises under another
    kind too; and, where the role C(container_toolkit) is not planned, what that role warns of. Ansible shows them.
  returned: success
  type: list
  elements: str
  sample: []
rules:
  description: The firewall rules of this host, as M(sparkops.dgx_spark.ufw_rules) takes them.
  returned: success
  type: list
  elements: dict
  sample: [{from_ip: [192.168.1.22], to_port: [2377, 7946], proto: tcp}]
at:
  description: When the plan was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
