#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: spark_host_name
short_description: Configure a host's name, and the names of other Sparks in its hosts file
version_added: 0.1.0
description:
  - >-
    Sets the host's name, now and for each boot, has C(/etc/hosts) say it, and gives other Sparks' names their
    management addresses there, in a block of its own. All other lines stay as they are.
  - >-
    V(restored) gives the host the name that it had, and restores C(/etc/hostname) and C(/etc/hosts), byte for byte
    where nobody else has changed these since; else it takes out what this module has added.
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
  name:
    description: The host's name. Empty to leave it as it is.
    type: str
    default: ""
  names:
    description: By name the addresses of other Sparks.
    type: dict
    default: {}
  state:
    description: Whether the name is set, or what was before restored.
    type: str
    choices: [present, restored]
    default: present
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Name the host
  sparkops.dgx_spark.spark_host_name:
    name: spark1
    names: {spark2: 192.168.1.22}
  become: true

- name: Restore the host's name
  sparkops.dgx_spark.spark_host_name:
    state: restored
  become: true
"""

RETURN = r"""
name:
  description: The host's name, now or as it would be.
  returned: success
  type: str
  sample: spark1
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import diff
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ledger import Originals, digest_of, read_file
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.notes import read_note, remove_note, write_note
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host import hosts_file
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host.layout import HOSTNAME, HOSTS

NOTE = "/var/lib/dgx-spark/host_name.json"  # the names that the host had, and was given


def text_of(path: str) -> str:
    """A file's text; empty where there is none."""
    return (read_file(Path(path)) or b"").decode(errors="replace")


def set_name(module: AnsibleModule, name: str) -> None:
    """Have systemd set the name, in /etc/hostname too."""
    tool = module.get_bin_path("hostnamectl", required=True)
    module.run_command([tool, "set-hostname", name], check_rc=True)


def present(module: AnsibleModule) -> tuple[str, str, str]:
    """Set the name and the names. Returns the hosts file before and after, and the name."""
    originals, old = Originals(), os.uname().nodename
    new = module.params["name"] or old
    before = text_of(HOSTS)
    after = hosts_file.planned(before, old, module.params["name"], module.params["names"])
    if not module.check_mode:
        if new != old:
            note = read_note(NOTE, {"before": old, "after": new}, lambda one: isinstance(one, str))
            write_note(NOTE, {**note, "after": new})
            originals.keep(HOSTNAME)
            last = digest_of(read_file(Path(HOSTNAME)))
            set_name(module, new)
            originals.note_written(HOSTNAME, last)
        if after != before:
            originals.change(HOSTS, after.encode())
            originals.settle(HOSTS)
    return before, after, new


def is_ours_alone(original: str, text: str, note: dict[str, str]) -> bool:
    """Whether the hosts file is its original but for what this module has added: other roles keep names there, too."""
    ours = hosts_file.planned(original, note.get("before", ""), note.get("after", ""), {})
    return ours.rstrip("\n") == hosts_file.without_block(text).rstrip("\n")


def restored(module: AnsibleModule) -> tuple[str, str, str]:
    """Restore the name and the files. Returns the hosts file before and after, and the name."""
    originals, old = Originals(), os.uname().nodename
    note = read_note(NOTE, {}, lambda one: isinstance(one, str))
    before = text_of(HOSTS)
    after = hosts_file.undone(before, note.get("before", old), note.get("after", ""))
    kept = originals.original_content(HOSTS)
    whole = kept is not None and is_ours_alone(kept.decode(errors="replace"), before, note)
    if whole:
        after = (kept or b"").decode(errors="replace")
    name = note["before"] if note.get("after") == old else old
    if not module.check_mode:
        if name != old:
            set_name(module, name)
        if originals.problem(HOSTNAME):  # the owner has given the host another name since
            originals.forget(HOSTNAME)
        else:
            originals.restore(HOSTNAME)
        if whole:
            originals.restore(HOSTS)
        elif after != before:
            originals.change(HOSTS, after.encode())
            originals.settle(HOSTS)
        remove_note(NOTE)
    return before, after, name


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": ""},
            "names": {"type": "dict", "default": {}},
            "state": {"type": "str", "choices": ["present", "restored"], "default": "present"},
        },
        supports_check_mode=True,
    )
    old = os.uname().nodename
    try:
        before, after, name = (present if module.params["state"] == "present" else restored)(module)
    except (FileError, OSError, hosts_file.HostsError) as error:
        module.fail_json(msg=f"{old}: {told(error)}")
    shown = [diff(before, after, HOSTS)] if before != after else []
    shown += [diff(f"{old}\n", f"{name}\n", HOSTNAME)] if old != name else []
    module.exit_json(changed=bool(shown), name=name, diff=shown)


if __name__ == "__main__":
    main()
