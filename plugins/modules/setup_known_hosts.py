#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: setup_known_hosts
short_description: Write the host keys of Sparks into known_hosts, once a person has accepted them
version_added: 0.1.0
description:
  - Asks each Spark for its host key (C(ssh-keyscan)). What C(known_hosts) has already is left as it is; a key that is
    new is shown by its fingerprint, and written only where it is accepted, at the terminal or by O(accept).
  - Fails where a Spark shows another key than C(known_hosts) has, and where two Sparks show the same one.
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
  accept:
    description:
      - Fingerprints of host keys that are right, such as V(SHA256:…); as a list, or as a string with commas.
      - V(any) accepts what is shown, for a network in which nobody can stand between.
    type: raw
    default: ""
  ssh_dir:
    description: The directory of keys, known hosts and configuration of ssh.
    type: str
    default: ~/.ssh
  seconds:
    description: How long to wait for the answer of a Spark.
    type: int
    default: 5
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Write the host key of a Spark into known_hosts
  sparkops.dgx_spark.setup_known_hosts:
    hosts:
      - {name: spark1, address: 192.168.1.21}
    accept: SHA256:qcuYkW4O5BOfAp9J34MIwFI8RvNLxvfbbN6hQSsQv0E
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /home/me/.ssh/known_hosts
fingerprints:
  description: The keys that were new, by Spark.
  returned: success
  type: dict
  sample: {spark1: 'SHA256:qcuYkW4O5BOfAp9J34MIwFI8RvNLxvfbbN6hQSsQv0E'}
at:
  description: When the task ran, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
