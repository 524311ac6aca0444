#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: access_config
short_description: Say how a person's computer reaches the Sparks by ssh
version_added: 0.1.0
description:
  - >-
    Returns a configuration of ssh with an entry for each Spark, by what the inventory says, and one with tunnels to the
    APIs and pages that listen on the leader's loopback.
  - Writes nothing. Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  members:
    description: The Sparks, the leader first.
    type: list
    elements: str
    required: true
  instances:
    description: What is configured on the leader, as M(sparkops.dgx_spark.engine_status_info) returns it.
    type: list
    elements: dict
    default: []
  tunnels:
    description: Further tunnels to ports of the leader's loopback.
    type: list
    elements: dict
    default: []
    suboptions:
      what:
        description: What is there, in words.
        type: str
        required: true
      port:
        description: The leader's port.
        type: int
        required: true
      local:
        description: The port on the person's computer. V(0) for the same, or the next that no other tunnel has.
        type: int
        default: 0
  key:
    description: The path of the private key on the person's computer, where ssh has to be told of that.
    type: str
    default: ""
  jump:
    description: The host that ssh has to go through, as C(ProxyJump) takes it.
    type: str
    default: ""
  path:
    description: >-
      The file on the controller that is to be written, where there is to be one. The task fails where that is somebody
      else's.
    type: path
    default: ""
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Say how to reach the Sparks
  sparkops.dgx_spark.access_config:
    members: [spark1]
    tunnels:
      - {what: Prometheus, port: 9090}
  register: access
"""

RETURN = r"""
content:
  description: The text of the file.
  returned: success
  type: str
places:
  description: Where things are on the person's computer while the tunnels are open.
  returned: success
  type: list
  elements: str
  sample: ["http://127.0.0.1:9090 (Prometheus)"]
command:
  description: What opens the tunnels, empty where there are none.
  returned: success
  type: str
  sample: ssh -N spark1-tunnels
at:
  description: When it was said, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
