#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_copy_door
short_description: Let other Sparks read one directory, for a while
version_added: "0.1.0"
description:
  - >-
    Adds keys to the C(~/.ssh/authorized_keys) of the cache's owner, each of which may do one thing only: read files of
    one directory, named by their hashes, from one address, until a time.
  - With O(state=closed) the file becomes what it was, byte for byte.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.hf_cache.cache
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: O(state=open) sets a new time each time. Of O(state=closed) it holds.
options:
  name:
    description: What the door is for. One of a name is open at a time.
    type: str
    required: true
  directory:
    description: The directory, such as the C(blobs) of a model. Required for O(state=open).
    type: path
  passes:
    description: Who may read, each as C(address key), which M(sparkops.dgx_spark.hf_copy_key) returns.
    type: list
    elements: str
    default: []
  minutes:
    description: How long.
    type: int
    default: 1440
  state:
    description: Whether anybody may read.
    type: str
    choices: [open, closed]
    default: open
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Let spark2 read the model
  sparkops.dgx_spark.hf_copy_door:
    name: openai/gpt-oss-120b
    directory: "{{ seen.repo_dir }}/blobs"
    passes: ["{{ key.pass }}"]
  register: door

- name: Let nobody read it any more
  sparkops.dgx_spark.hf_copy_door:
    name: openai/gpt-oss-120b
    state: closed
"""

RETURN = r"""
user:
  description: The user to log in as.
  returned: O(state=open)
  type: str
  sample: nvidia
host_keys:
  description: The ssh host keys of this Spark.
  returned: O(state=open)
  type: list
  elements: str
"""

import inspect
import os
import pwd
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import (
    CACHE_OPTION,
    OWN_DIR,
    make_own,
    replace_file,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer import send as peer_send
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.copy import (
    CopyError,
    check_key,
    door_line,
    with_doors,
)


def read_host_keys(module: AnsibleModule, folder: Path) -> list[str]:
    """Return the public host keys of this machine."""
    keys = [check_key(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("ssh_host_*_key.pub"))]
    if not keys:
        module.fail_json(msg=f"{folder} holds no ssh host keys: install openssh-server, or run ssh-keygen -A")
    return keys


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "cache_dir": CACHE_OPTION,
            "name": {"type": "str", "required": True},
            "directory": {"type": "path"},
            # Addresses and public keys.
            "passes": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "minutes": {"type": "int", "default": 1440},
            "state": {"type": "str", "choices": ["open", "closed"], "default": "open"},
        },
        required_if=[("state", "open", ["directory"])],
        supports_check_mode=True,
    )
    asked, me = module.params, pwd.getpwuid(os.geteuid())
    # A link stays a link.
    path = Path(os.path.realpath(Path(me.pw_dir, ".ssh", "authorized_keys")))
    sender = Path(asked["cache_dir"], OWN_DIR, "send.py")
    lines, told = [], {}
    try:
        if asked["state"] == "open":
            told = {"user": me.pw_name, "host_keys": read_host_keys(module, Path("/etc/ssh"))}
            until = time.time() + asked["minutes"] * 60
            for one in asked["passes"]:
                address, _space, key = one.partition(" ")
                lines.append(door_line(key, address, sender, Path(asked["directory"]), asked["name"], until))
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        after = with_doors(before, lines, asked["name"])
        changed = before != after
        if changed and not module.check_mode:
            if lines:
                make_own(sender.parent)
                replace_file(sender, inspect.getsource(peer_send))
            path.parent.mkdir(mode=0o700, exist_ok=True)
            if after:
                mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
                replace_file(path, after, mode)
            else:
                path.unlink()
            if not any(str(sender) in line for line in after.splitlines()):
                sender.unlink(missing_ok=True)
    except (CopyError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=changed, **told)


if __name__ == "__main__":
    main()
