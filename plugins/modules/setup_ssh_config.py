#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: setup_ssh_config
short_description: Write entries for Sparks into a user's configuration of ssh, or remove them
version_added: 0.1.0
description:
  - Adds a marked block with a C(Host) for each Spark, by its name alone, to the end of the file; removes that block,
    and leaves the file as it was before, byte for byte. A file that was not there is removed again.
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
    default: []
  state:
    description: Whether the block is to be there.
    type: str
    choices: [present, absent]
    default: present
  user:
    description: The account on the Sparks.
    type: str
    default: ""
  key:
    description: The private key's path, where ssh has to be told of that.
    type: str
    default: ""
  known_hosts:
    description: The path of another file of known hosts than ssh's own.
    type: str
    default: ""
  ssh_dir:
    description: The directory of keys, known hosts and configuration of ssh.
    type: str
    default: ~/.ssh
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Have ssh know a Spark by its name
  sparkops.dgx_spark.setup_ssh_config:
    hosts:
      - {name: spark1, address: 192.168.1.21}
    user: nvidia
  delegate_to: localhost

- name: Remove the entries
  sparkops.dgx_spark.setup_ssh_config:
    state: absent
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /home/me/.ssh/config
clashes:
  description: Names that the rest of the file has entries for, which ssh goes by first.
  returned: success
  type: list
  elements: str
at:
  description: When the task ran, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
