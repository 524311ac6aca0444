#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_cache_ref
short_description: Give a model of the Hugging Face cache its name, where it has none
version_added: 0.1.0
description:
  - Writes the commit of a model into a file below C(refs), by which clients find a snapshot. What is there stays.
  - >-
    As root it writes with the rights of the cache's owner alone, so that a link in the owner's directories leads
    nowhere that the owner could not write to.
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
  path:
    description: The file, such as C(models--org--name/refs/main) below the cache's C(hub).
    type: path
    required: true
  commit:
    description: The commit.
    type: str
    required: true
  uid:
    description: The number of the user whose cache it is.
    type: int
    required: true
  gid:
    description: The number of that user's group.
    type: int
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Give the model its name
  sparkops.dgx_spark.hf_cache_ref:
    path: /home/nvidia/.cache/huggingface/hub/models--openai--gpt-oss-20b/refs/main
    commit: 6cee5e81ee83917806bbde320786a8fb61efebee
    uid: 1000
    gid: 1000
  become: true
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
"""

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError, replace_text
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told


@contextmanager
def rights_of(uid: int, gid: int) -> Iterator[None]:
    """Have the rights of a user, where this is root."""
    if os.geteuid() != 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def write(path: Path, commit: str, dry: bool) -> bool:
    """Write the commit, unless something is there already. Return whether it was, or would be, written."""
    if os.path.lexists(path):
        return False
    if not dry:
        path.parent.mkdir(exist_ok=True)
        replace_text(path, commit, mode=0o644)
    return True


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "commit": {"type": "str", "required": True},
            "uid": {"type": "int", "required": True},
            "gid": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    asked = module.params
    with rights_of(asked["uid"], asked["gid"]):
        try:
            changed = write(Path(asked["path"]), asked["commit"], module.check_mode)
        except (OSError, FileError) as error:
            module.fail_json(msg=told(error))  # which names whose rights they were
    module.exit_json(changed=changed, path=asked["path"])


if __name__ == "__main__":
    main()
