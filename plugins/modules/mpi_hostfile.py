#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mpi_hostfile
short_description: Write an Open MPI hostfile
version_added: 0.1.0
description:
  - Writes the file that C(mpirun --hostfile) reads, one line a node, in the order given; rank 0 runs on the first.
  - Refuses, before it writes, a node that Open MPI could not use or would take for another.
  - The file is owned as a whole. It is replaced in one step, and keeps its owner and mode unless others are asked for.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - ansible.builtin.files
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  path:
    description: Path of the hostfile. A link is followed to write, and itself removed. The directory must exist.
    type: path
    required: true
  nodes:
    description: The nodes, leader first. Required, and not empty, if O(state=present).
    type: list
    elements: dict
    suboptions:
      address:
        description:
          - IPv4 address or hostname (RFC 1123) at which the other nodes reach this node.
          - >-
            Refused are an address given twice (hostnames regardless of case and of a dot at the end), names with one
            first label (C(spark1.lan) and C(spark1.example.org) are one host to Open MPI), names of which the
            first label is a number (C(1.lan) is C(1) to Open MPI, which is an address), wildcards, loopback, broadcast
            and multicast addresses, IPv6, anything malformed, and words that have a meaning in hostfiles.
        type: str
        required: true
      slots:
        description: How many ranks the node may run, at least 1. A DGX Spark has one GPU, so one.
        type: int
        default: 1
  first_is_here:
    description:
      - Whether C(mpirun) runs on the first node, on the host that the file is written on. It is written as C(localhost)
        then, since C(mpirun) calls by ssh what is not its own host's name.
      - The address of the first node is checked all the same.
    type: bool
    default: false
  state:
    description: V(absent) removes the file.
    type: str
    choices: [present, absent]
    default: present
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Two Sparks, the leader first
  sparkops.dgx_spark.mpi_hostfile:
    path: /etc/dgx-spark/trtllm/hostfile
    nodes:
      - address: 192.168.100.10
      - address: 192.168.100.11
    mode: "0644"

- name: No hostfile
  sparkops.dgx_spark.mpi_hostfile:
    path: /etc/dgx-spark/trtllm/hostfile
    state: absent
"""

RETURN = r"""
path:
  description: Path of the hostfile, links resolved if O(state=present).
  returned: success
  type: str
  sample: /etc/dgx-spark/trtllm/hostfile
content:
  description: Text of the hostfile, empty if O(state=absent).
  returned: success
  type: str
  sample: |
    # Ansible managed (sparkops.dgx_spark.mpi_hostfile): changes made here will be lost.
    192.168.100.10 slots=1
    192.168.100.11 slots=1
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.hostfile import (
    HostfileError,
    render,
    validate_nodes,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import diff
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import write
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told


def rendered(asked: dict[str, Any]) -> str:
    """Return the text of the hostfile. :raises HostfileError: naming a node that cannot stand there."""
    return render(validate_nodes(asked["nodes"]), asked["first_is_here"])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "nodes": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "address": {"type": "str", "required": True},
                    "slots": {"type": "int", "default": 1},
                },
            },
            "first_is_here": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["nodes"])],
        add_file_common_args=True,
        supports_check_mode=True,
    )
    present = module.params["state"] == "present"
    path = Path(module.params["path"])
    if path.is_dir():
        module.fail_json(msg=f"path {str(path)!r} is a directory: give the path of a file")
    try:
        content = rendered(module.params) if present else ""
        if present:
            path = Path(os.path.realpath(path))
        there = os.path.lexists(path)
        if path.exists() and not path.is_file():
            module.fail_json(msg=f"path {str(path)!r} is no file: give the path of one")
        before = path.read_bytes() if path.exists() else b""
    except (HostfileError, OSError) as exc:
        module.fail_json(msg=told(exc))
    changed = before != content.encode() if present else there
    content_diff = diff(before.decode(errors="replace"), content, str(path))
    attribute_diff = {"before_header": f"{path} (attributes)", "after_header": f"{path} (attributes)"}
    if changed and not module.check_mode:
        if present:
            write(module, path, content, module.params["unsafe_writes"])
        else:
            path.unlink()
    if present:
        module.params["path"] = str(path)
        attributes = module.load_file_common_arguments(module.params)
        changed = module.set_fs_attributes_if_different(attributes, changed, attribute_diff)
    module.exit_json(changed=changed, path=str(path), content=content, diff=[content_diff, attribute_diff])


if __name__ == "__main__":
    main()
