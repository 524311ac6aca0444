#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: setup_login
short_description: Have Sparks let a user in by an ssh key
version_added: 0.1.0
description:
  - Tries to log in to each Spark without a password. Where that does not do, adds a public key of the user to the
    account's C(authorized_keys), by a login with the password, which is asked for at the terminal, once for all Sparks.
  - Where NVIDIA Sync's key logs in, no password is asked for.
  - The public key is the user's own (C(id_ed25519.pub) first, then others that ssh finds by itself, then one of the
    agent). Where there is none, one is made, if the user says so. No private key leaves this machine.
  - The password goes to ssh as Ansible's connection plugin P(ansible.builtin.ssh#connection) passes it on, by the way
    that its option C(password_mechanism) names. It is in no argument, no log and no file.
  - Runs on the controller.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  hosts:
    description: The Sparks in rank order, as RV(sparkops.dgx_spark.setup_questions#module:hosts) has them.
    type: list
    elements: dict
    required: true
  user:
    description: The account on the Sparks.
    type: str
    required: true
  password:
    description: The password of O(user). Asked for where it is empty and needed.
    type: str
    default: ""
  key:
    description: The key to install, by the path of either of its files.
    type: str
    default: ""
  new_key:
    description: Whether to make a key where the user has none, V(yes) or V(no). Asked for where it is empty and needed.
    type: str
    default: ""
  ssh_dir:
    description: The directory of keys, known hosts and configuration of ssh.
    type: str
    default: ~/.ssh
  unknown:
    description: Sparks whose host keys are not known yet, which a run in check mode cannot log in to.
    type: list
    elements: str
    default: []
  seconds:
    description: How long to wait for a connection.
    type: int
    default: 10
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Have a Spark let me in
  sparkops.dgx_spark.setup_login:
    hosts:
      - {name: spark1, address: 192.168.1.21}
    user: nvidia
  delegate_to: localhost
"""

RETURN = r"""
installed:
  description: The Sparks that got the key, or would in check mode.
  returned: success
  type: list
  elements: str
  sample: [spark1, spark2]
made:
  description: Whether the key was made.
  returned: success
  type: bool
key:
  description: The private key's path, where ssh has to be told of that.
  returned: success
  type: str
  sample: /home/me/keys/sparks
public_key:
  description: The line of the public key; empty where none was needed.
  returned: success
  type: str
at:
  description: When the task ran, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
