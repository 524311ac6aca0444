#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_copy_door
short_description: Let other Sparks read one model of this cache, for a while
version_added: "0.1.0"
description:
  - >-
    Adds keys to the C(~/.ssh/authorized_keys) of the cache's owner, each of which may do one thing only: read the
    model's directory by rsync, from one address, until a time.
  - With O(state=closed) the file becomes what it was, byte for byte.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: O(state=open) sets a new time each time. Of O(state=closed) it holds.
options:
  cache_dir:
    description:
      - The cache, as C(HF_HOME) names it.
      - The module must run as the cache's owner.
    type: path
    default: ~/.cache/huggingface
  repo:
    description: The model's repository, C(organisation/name).
    type: str
    required: true
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
    repo: openai/gpt-oss-120b
    passes: ["{{ key.pass }}"]
  register: door

- name: Let nobody read it any more
  sparkops.dgx_spark.hf_copy_door:
    repo: openai/gpt-oss-120b
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

import os
import pwd
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf_cache import CACHE_OPTION, Cache, replace_file
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf_copy import (
    CopyError,
    check_key,
    door_line,
    with_doors,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf_hub import HubError, check_names


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
            "repo": {"type": "str", "required": True},
            # Addresses and public keys.
            "passes": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "minutes": {"type": "int", "default": 1440},
            "state": {"type": "str", "choices": ["open", "closed"], "default": "open"},
        },
        supports_check_mode=True,
    )
    me = pwd.getpwuid(os.geteuid())
    # A link stays a link.
    path = Path(os.path.realpath(Path(me.pw_dir, ".ssh", "authorized_keys")))
    lines, told = [], {}
    try:
        check_names(module.params["repo"], "main")
        if module.params["state"] == "open":
            rrsync = module.get_bin_path("rrsync")
            if rrsync is None:
                module.fail_json(msg="rrsync is not there: install rsync (sudo apt-get install rsync)")
            told = {"user": me.pw_name, "host_keys": read_host_keys(module, Path("/etc/ssh"))}
            directory = str(Cache(module.params["cache_dir"], module.params["repo"]).repo_dir)
            until = time.time() + module.params["minutes"] * 60
            for one in module.params["passes"]:
                address, _space, key = one.partition(" ")
                lines.append(door_line(key, address, rrsync, directory, module.params["repo"], until))
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        after = with_doors(before, lines, module.params["repo"])
        changed = before != after
        if changed and not module.check_mode:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            if after:
                mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
                replace_file(path, after, mode)
            else:
                path.unlink()
    except (CopyError, HubError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=changed, **told)


if __name__ == "__main__":
    main()
