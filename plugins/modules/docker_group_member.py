#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_group_member
short_description: Add a user to the group docker, and undo that
version_added: 0.1.0
description:
  - Makes a user a member of the group C(docker). A member of that group has the rights of root.
  - Notes below C(/var/lib/dgx-spark) which users it added, so that V(restored) removes exactly these.
  - A login from before the change does not have the group yet, see M(ansible.builtin.meta).
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
  user:
    description: Name of the user. Required if O(state=present).
    type: str
  state:
    description: V(present) adds the user, V(restored) removes the users that this module has added.
    type: str
    choices: [present, restored]
    default: present
  group:
    description: Name of the group.
    type: str
    default: docker
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Add the login user to the group docker
  sparkops.dgx_spark.docker_group_member:
    user: nvidia

- name: Reset the connection, so that the group counts in this play
  ansible.builtin.meta: reset_connection
"""

RETURN = r"""
members:
  description: Members of the group, after a change.
  returned: success
  type: list
  elements: str
  sample: [nvidia]
"""

import grp
import pwd
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.notes import (
    ROOT,
    read_note,
    remove_note,
    write_note,
)

#: the users whom this module has added
RECORD = str(Path(ROOT, "docker-group.json"))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "user": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "restored"], "default": "present"},
            "group": {"type": "str", "default": "docker"},
        },
        required_if=[("state", "present", ["user"])],
        supports_check_mode=True,
    )
    user, group, restored = module.params["user"], module.params["group"], module.params["state"] == "restored"
    try:
        before = grp.getgrnam(group).gr_mem
        if not restored:
            pwd.getpwnam(user)
    except KeyError as exc:
        module.fail_json(msg=f"{exc.args[0]}: name a user of this host, and install Docker, which brings the group")
    try:
        noted = read_note(RECORD, [], lambda one: isinstance(one, str))
    except FileError as error:
        module.fail_json(msg=str(error))
    going = [one for one in noted if one in before] if restored else []
    coming = [] if restored or user in before else [user]
    changed = bool(going or coming)
    if not module.check_mode:
        if coming:  # before the change: one who is noted and not in the group does no harm
            try:
                write_note(RECORD, sorted({*noted, *coming}))
            except FileError as error:
                module.fail_json(msg=str(error))
        tool = module.get_bin_path("gpasswd", required=changed)
        for option, users in (("--add", coming), ("--delete", going)):
            for one in users:
                module.run_command([tool, option, one, group], check_rc=True)
        if restored and noted:
            remove_note(RECORD)
    after = [one for one in before if one not in going] + coming
    module.exit_json(
        changed=changed, members=after, diff={"before": " ".join(before) + "\n", "after": " ".join(after) + "\n"}
    )


if __name__ == "__main__":
    main()
