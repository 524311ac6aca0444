#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: setup_next_steps
short_description: Show what to type after the set-up
version_added: 0.1.0
description:
  - Shows the commands by which the Sparks of a new inventory serve, and the one by which this machine has their API.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  hosts:
    description: The Sparks in rank order, as RV(sparkops.dgx_spark.setup_questions#module:hosts) has them.
    type: list
    elements: dict
    required: true
  path:
    description: The inventory.
    type: str
    required: true
  user:
    description: The account on the Sparks.
    type: str
    required: true
  key:
    description: The private key's path, where ssh has to be told of that.
    type: str
    default: ""
  known_hosts:
    description: The path of another file of known hosts than ssh's own.
    type: str
    default: ""
  ssh_config:
    description: Whether the configuration of ssh has entries for the Sparks.
    type: bool
    default: false
  clashes:
    description: Names that the configuration of ssh had entries for before.
    type: list
    elements: str
    default: []
  api_port:
    description: The port of the API.
    type: int
    default: 8355
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Show what comes next
  sparkops.dgx_spark.setup_next_steps:
    path: my.yml
    hosts:
      - {name: spark1, address: 192.168.1.21}
    user: nvidia
  delegate_to: localhost
"""

RETURN = r"""
commands:
  description: What to type, each with what it is for.
  returned: success
  type: list
  elements: str
  sample: ['ansible-playbook -i my.yml sparkops.dgx_spark.single_spark --ask-become-pass  # serves']
at:
  description: When the task ran, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
