#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: setup_inventory
short_description: Write the inventory of some Sparks
version_added: 0.1.0
description:
  - Writes a file like the examples of this collection, for all its playbooks. A file that is there with something else
    in it is written over only where a person says so, at the terminal or by O(overwrite).
  - Runs on the controller.
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
  hosts:
    description: The Sparks in rank order, as RV(sparkops.dgx_spark.setup_questions#module:hosts) has them.
    type: list
    elements: dict
    required: true
  path:
    description: The file.
    type: str
    required: true
  user:
    description: The account on the Sparks.
    type: str
    required: true
  model:
    description: The handle of the model.
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
  overwrite:
    description: Whether to write over another file, V(yes) or V(no). Asked for where it is empty and needed.
    type: str
    default: ""
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Write an inventory of one Spark
  sparkops.dgx_spark.setup_inventory:
    path: my.yml
    hosts:
      - {name: spark1, address: 192.168.1.21}
    user: nvidia
    model: openai/gpt-oss-20b
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /home/me/my.yml
at:
  description: When the task ran, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
