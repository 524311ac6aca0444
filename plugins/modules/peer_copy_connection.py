#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: peer_copy_connection
short_description: Note how a copy between Sparks reaches the Spark that it reads from
version_added: 0.1.0
description:
  - Writes beside the key that M(sparkops.dgx_spark.peer_copy_key) created where the other Spark is, as whom to log in,
    and which ssh host keys it has. Whatever copies under this O(name) reads that.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.peer_copy
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  address:
    description: Where the other Spark is reached, best an address on the fabric.
    type: str
    required: true
  port:
    description: Its ssh port.
    type: int
    default: 22
  user:
    description: The user that M(sparkops.dgx_spark.peer_copy_access) ran as there.
    type: str
    required: true
  host_keys:
    description: The ssh host keys of the other Spark. No Spark with another key is spoken to.
    type: list
    elements: str
    required: true
  streams:
    description: How many connections carry files side by side.
    type: int
    default: 4
  encrypted:
    description:
      - Whether the files' bytes are encrypted on their way. What is asked for, and by whom, always is.
      - >-
        With V(false) they come over TCP connections of their own, from the other Spark to this one, on any port.
        Any host on that network can read them. A file that was changed on the way is not kept.
    type: bool
    default: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Note how spark1 is reached
  sparkops.dgx_spark.peer_copy_connection:
    name: openai/gpt-oss-120b
    address: 192.168.100.10
    user: "{{ access.user }}"
    host_keys: "{{ access.host_keys }}"
"""

RETURN = r"""
path:
  description: The file that tells how the other Spark is reached.
  returned: success
  type: str
  sample: /home/nvidia/.dgx-spark/copy-openai--gpt-oss-120b/connection.json
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.access import (
    DIR_OPTION,
    Connection,
    CopyError,
    Place,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "dir": DIR_OPTION,
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 22},
            "user": {"type": "str", "required": True},
            "host_keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
            "streams": {"type": "int", "default": 4},
            "encrypted": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    asked = module.params
    try:
        place = Place(asked["dir"], asked["name"])
        how = Connection(**{name: asked[name] for name in Connection._fields})
        changed = place.connect(how, asked["host_keys"], module.check_mode)
    except (CopyError, FileError, OSError) as exc:
        module.fail_json(msg=told(exc))
    module.exit_json(changed=changed, path=str(place.connection))


if __name__ == "__main__":
    main()
