#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: setup_questions
short_description: Ask which Sparks are to serve which model
version_added: 0.1.0
description:
  - Asks at the terminal for what no option says, and asks again where an answer will not do. The account, the names,
    the file and the configuration of ssh have answers that Enter takes.
  - Without a terminal it fails where an answer is missing, and says how to give that.
  - Runs on the controller, asks no host, and writes nothing.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  candidates:
    description: What RV(sparkops.dgx_spark.setup_search_info#module:candidates) has.
    type: list
    elements: dict
    required: true
  others:
    description: How many neighbours are not among O(candidates).
    type: int
    default: 0
  notes:
    description: What to say beside O(candidates).
    type: list
    elements: str
    default: []
  models:
    description: Entries beside or over those of the catalogue of models, by handle.
    type: dict
    default: {}
  hosts:
    description:
      - The Sparks in rank order, the leader first; as a list, or as a string with commas.
      - Each is a number or a name of O(candidates), an address, or an address with a port.
    type: raw
    default: ""
  names:
    description: Their names in the inventory, their host names by default. Not asked for where O(hosts) is given.
    type: raw
    default: ""
  user:
    description: The account on the Sparks.
    type: str
    default: ""
  model:
    description: A number of the table, a handle, or a part of one that no other model of the catalogue has.
    type: str
    default: ""
  path:
    description: The file that the inventory is to be written to.
    type: str
    default: ""
  ssh_config:
    description: Whether the configuration of ssh is to have entries for the Sparks, V(yes) or V(no).
    type: str
    default: ""
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Ask for the model alone
  sparkops.dgx_spark.setup_questions:
    candidates: []
    hosts: [192.168.1.21, 192.168.1.22]
    names: spark1,spark2
    user: nvidia
    path: my.yml
    ssh_config: "no"
  delegate_to: localhost
  register: asked
"""

RETURN = r"""
hosts:
  description: The Sparks in rank order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name in the inventory.
      type: str
      sample: spark1
    address:
      description: Its management address.
      type: str
      sample: 192.168.1.21
    port:
      description: The port of its ssh server.
      type: int
      sample: 22
    here:
      description: Whether it is this machine.
      type: bool
    identity:
      description: A private key of this machine that may log in already.
      type: str
user:
  description: The account.
  returned: success
  type: str
  sample: nvidia
model:
  description: The handle of the model.
  returned: success
  type: str
  sample: openai/gpt-oss-20b
path:
  description: The file for the inventory.
  returned: success
  type: str
  sample: my.yml
ssh_config:
  description: Whether the configuration of ssh is to have entries.
  returned: success
  type: bool
at:
  description: When the task ran, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
