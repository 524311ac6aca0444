#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_gpu_report
short_description: Report the nodes of a swarm to every member
version_added: 0.1.0
description:
  - >-
    Only the leader of a swarm can check its nodes. This takes what M(sparkops.dgx_spark.docker_swarm_gpu_check) found
    there to every member, and fails where a member was not checked.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  members:
    description: The members, the leader first.
    type: list
    elements: str
    required: true
  nodes:
    description: RV(sparkops.dgx_spark.docker_swarm_gpu_check#module:nodes) of the leader.
    type: dict
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Report the nodes of the swarm
  sparkops.dgx_spark.swarm_gpu_report:
    members: [spark1]
    nodes: {spark1: {node_id: v7zy1pzz7yxxzn5k3afs3i4s9, address: 192.168.1.21, rank: 0}}
  register: swarm_gpu_report
"""

RETURN = r"""
nodes:
  description: By host its C(node_id), C(address) and C(rank), in rank order.
  returned: success
  type: dict
  sample: {spark1: {node_id: v7zy1pzz7yxxzn5k3afs3i4s9, address: 192.168.1.21, rank: 0}}
at:
  description: When the report was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
