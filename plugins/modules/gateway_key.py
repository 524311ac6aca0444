#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_key
short_description: Make the key of a client of an API gateway, on the controller
version_added: 0.1.0
description:
  - >-
    Makes a key of 32 random bytes and keeps it in a file on the controller, from which it is handed to who is to use
    it. The gateway gets its SHA-256 alone. The key is in nothing that is returned or shown.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.gateway.keys
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: With O(state=new) each run makes another key.
options:
  name:
    description: >-
      The name of the client. The file is called after it, and ends with C(.key). Not needed with O(state=absent), which
      then removes all such files, and C(ca.crt).
    type: str
    default: ""
  state:
    description: >-
      V(present) makes a key where there is no file yet, V(new) makes another one in any case, V(absent) removes the
      file, and directories that are empty then.
    type: str
    choices: [present, new, absent]
    default: present
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Make a key for a client
  sparkops.dgx_spark.gateway_key:
    directory: ~/.config/dgx-spark/keys/spark1
    name: alice
  register: key
"""

RETURN = r"""
path:
  description: The file that has the key.
  returned: success
  type: str
  sample: /home/me/.config/dgx-spark/keys/spark1/alice.key
sha256:
  description: The SHA-256 of the key, which the gateway knows it by. Empty where there is none.
  returned: success
  type: str
"""
