#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: peer_copy_access
short_description: Let other Sparks read one directory over ssh, for a while
version_added: 0.1.0
description:
  - >-
    Adds keys to this user's C(~/.ssh/authorized_keys), each of which can do one thing only: read files of one
    directory, named by their hashes, from one address, until a time.
  - With O(state=absent) the file becomes what it was, byte for byte.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: O(state=present) sets a new time each time. O(state=absent) is idempotent.
options:
  name:
    description:
      - What is copied. Each name has an access of its own. Required for O(state=present).
      - Without a name, O(state=absent) removes every access that this module gave.
    type: str
  dir:
    description:
      - The directory of all copies, in which keys and programs are as long as a copy runs.
      - The module must run as the user who owns the files.
    type: path
    default: ~/.dgx-spark
  directory:
    description: The directory to read, such as the C(blobs) of a model. Required for O(state=present).
    type: path
  readers:
    description: Who may read, each as M(sparkops.dgx_spark.peer_copy_key) returned.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: The only address from which the key is accepted.
        type: str
        required: true
      public_key:
        description: The public key.
        type: str
        required: true
  minutes:
    description: How long.
    type: int
    default: 1440
  state:
    description: Whether the readers have access.
    type: str
    choices: [present, absent]
    default: present
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Let spark2 read the model
  sparkops.dgx_spark.peer_copy_access:
    name: openai/gpt-oss-120b
    directory: /home/nvidia/.cache/huggingface/hub/models--openai--gpt-oss-120b/blobs
    readers: ["{{ key.reader }}"]
  register: access

- name: Remove the access
  sparkops.dgx_spark.peer_copy_access:
    name: openai/gpt-oss-120b
    state: absent
"""

RETURN = r"""
user:
  description: The user to log in as.
  returned: O(state=present)
  type: str
  sample: nvidia
host_keys:
  description: The ssh host keys of this Spark.
  returned: O(state=present)
  type: list
  elements: str
"""

import os
import pwd
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import (
    FileError,
    make_private_directory,
    replace_text,
    write_atomically,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.access import (
    COMMENT,
    DIR_OPTION,
    CopyError,
    authorized_keys,
    authorized_line,
    check_name,
    drop_if_empty,
    host_keys_in,
    program,
    read_keys,
    with_lines,
)


def read_host_keys(module: AnsibleModule, folder: Path) -> list[str]:
    """Return the public host keys of this machine."""
    paths = sorted(folder.glob("ssh_host_*_key.pub"))
    try:
        return host_keys_in({str(path): path.read_text(encoding="utf-8", errors="replace") for path in paths})
    except (CopyError, OSError) as exc:
        module.fail_json(msg=told(exc))


def write(path: Path, after: str) -> None:
    """Replace authorized_keys, and remove the file where nothing is left in there."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if after:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        write_atomically(path, after.encode(errors="surrogateescape"), mode)
    else:
        path.unlink()
        drop_if_empty(path.parent)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str"},
            "dir": DIR_OPTION,
            "directory": {"type": "path"},
            "readers": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "address": {"type": "str", "required": True},
                    "public_key": {"type": "str", "required": True, "no_log": False},
                },
            },
            "minutes": {"type": "int", "default": 1440},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["name", "directory"])],
        supports_check_mode=True,
    )
    asked = module.params
    sender = Path(asked["dir"], "send.py")
    lines: list[str] = []
    found: dict[str, Any] = {}
    try:
        path = authorized_keys()
        if asked["name"]:
            check_name(asked["name"])
        if asked["state"] == "present":
            user = pwd.getpwuid(os.geteuid()).pw_name
            found = {"user": user, "host_keys": read_host_keys(module, Path("/etc/ssh"))}
            until = time.time() + asked["minutes"] * 60
            lines = [
                authorized_line(
                    one["public_key"], one["address"], sender, Path(asked["directory"]), asked["name"], until
                )
                for one in asked["readers"]
            ]
        before = read_keys(path)
        after = with_lines(before, lines, asked["name"])
        in_use = COMMENT in after
        changed = before != after or (sender.exists() and not in_use)
        if changed and not module.check_mode:
            if lines:
                make_private_directory(sender.parent)
                replace_text(sender, program())
            if before != after:
                write(path, after)
            if not in_use:
                sender.unlink(missing_ok=True)
                drop_if_empty(sender.parent)
    except (CopyError, FileError, OSError) as exc:
        module.fail_json(msg=told(exc))
    module.exit_json(changed=changed, **found)


if __name__ == "__main__":
    main()
