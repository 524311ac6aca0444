#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: peer_copy_key
short_description: Create or remove the ssh key of one copy between Sparks
version_added: 0.1.0
description:
  - Creates a new ssh key pair on the Spark that is to copy files from another. The private key never leaves this Spark.
  - Returns from which address the other Spark is reached, so that the key can be restricted to that address.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: O(state=present) creates a new key each time. O(state=absent) is idempotent.
options:
  name:
    description:
      - What is copied. Each name has a key of its own. Required for O(state=present).
      - Without a name, O(state=absent) removes what every copy left.
    type: str
  dir:
    description:
      - The directory of all copies, in which keys and programs are as long as a copy runs.
      - The module must run as the user who copies.
    type: path
    default: ~/.dgx-spark
  peer:
    description: Name or address of the Spark to copy from. Required for O(state=present).
    type: str
  port:
    description: Its ssh port.
    type: int
    default: 22
  state:
    description: Whether there is to be a key.
    type: str
    choices: [present, absent]
    default: present
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Create a key for this run
  sparkops.dgx_spark.peer_copy_key:
    name: openai/gpt-oss-120b
    peer: 192.168.100.10
  register: key
"""

RETURN = r"""
reader:
  description: What M(sparkops.dgx_spark.peer_copy_access) authorizes. Not returned in check mode.
  returned: O(state=present)
  type: dict
  contains:
    address:
      description: The address from which O(peer) is reached.
      type: str
      sample: 192.168.100.11
    public_key:
      description: The public key.
      type: str
      sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6WZb0P1Qf0m1bM4uJ0q3XbTq7C0m0r9cX0kq1Z8f3v
progress:
  description: >-
    The file in which M(sparkops.dgx_spark.peer_copy_files) tells how far it is; for M(sparkops.dgx_spark.async_follow).
    Not returned in check mode.
  returned: O(state=present)
  type: str
  sample: /home/nvidia/.dgx-spark/copy-openai--gpt-oss-120b.progress
"""

import os
import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.access import (
    DIR_OPTION,
    CopyError,
    Place,
    drop_if_empty,
    places,
    source_address,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.keys import made


def remove(top: Path, going: list[Path], check_mode: bool) -> bool:
    """Remove what copies left; return whether there was any."""
    found = [path for path in going if os.path.lexists(path)]
    for path in [] if check_mode else found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if not check_mode:
        drop_if_empty(top)
    return bool(found)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str"},
            "dir": DIR_OPTION,
            "peer": {"type": "str"},
            "port": {"type": "int", "default": 22},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["name", "peer"])],
        supports_check_mode=True,
    )
    asked, top = module.params, Path(module.params["dir"])
    found: dict[str, Any] = {}
    try:
        if asked["state"] == "absent":
            going = places(top)
            if asked["name"]:
                going = [Place(top, asked["name"]).folder]
            module.exit_json(changed=remove(top, going, module.check_mode))
        place = Place(top, asked["name"])
        address = source_address(asked["peer"], asked["port"])
        if not module.check_mode:
            found = made(place, address, lambda argv: module.run_command(argv, check_rc=True))
    except (CopyError, OSError) as exc:
        module.fail_json(msg=told(exc))
    module.exit_json(changed=True, **found)


if __name__ == "__main__":
    main()
