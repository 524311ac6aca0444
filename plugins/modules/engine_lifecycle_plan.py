#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_lifecycle_plan
short_description: Plan to stop, to start or to restart what is configured to be served
version_added: 0.1.0
description:
  - >-
    Computes from what each host has who is to be stopped and started, and what a verification goes by. What is
    configured stays as it is.
  - Refuses what is not configured, or not whole, or has a rank on a host that was not looked at.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  action:
    description: What is to be done.
    type: str
    choices: [stop, start, restart]
    required: true
  members:
    description: The Sparks that serve, leader first.
    type: list
    elements: str
    required: true
  found:
    description: By name, what M(sparkops.dgx_spark.engine_host_info) returned.
    type: dict
    required: true
  local_only:
    description: Whether the leader alone is stopped.
    type: bool
    default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan the end of the serving
  sparkops.dgx_spark.engine_lifecycle_plan:
    action: stop
    members: [spark1]
    found: {spark1: "{{ serving }}"}
  register: planned
"""

RETURN = r"""
changes:
  description: By name the changes, each with C(name).
  returned: success
  type: dict
  sample: {"spark1": [{"name": "Stop the engine"}]}
layout:
  description: Paths and names of the serving.
  returned: success
  type: dict
launcher:
  description: Who starts the containers, C(swarm) or C(docker).
  returned: success
  type: str
  sample: swarm
local_only:
  description: As it was asked for.
  returned: success
  type: bool
instance:
  description: The instance's name, empty for that without a name.
  returned: success
  type: str
  sample: ""
cluster:
  description: The configuration of all nodes, as it lies on the leader.
  returned: success
  type: dict
endpoint:
  description: Where the OpenAI-compatible API is, on the leader.
  returned: success
  type: str
  sample: http://127.0.0.1:8355/v1
serves_beside:
  description: Other instances that serve on the leader, by the names of their containers or stacks.
  returned: success
  type: list
  elements: str
  sample: [dgx-spark-trtllm-vlm]
config_digest:
  description: Empty, since what is configured is started, whatever that is.
  returned: success
  type: str
  sample: ""
last_good:
  description: Empty, since there is nothing to go back to.
  returned: success
  type: str
  sample: ""
hosts:
  description: By name the C(rdma_devices) of its rank.
  returned: success
  type: dict
require_rdma:
  description: Whether every rank has to use RDMA.
  returned: success
  type: bool
load_timeout:
  description: Seconds that a play waits for one start.
  returned: success
  type: int
  sample: 3900
ignore_started_at:
  description: When a supervisor began whose state says nothing of the start that is planned, 0 for none.
  returned: success
  type: float
  sample: 1795953600.0
at:
  description: When it was planned, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
