#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fabric_netplan
short_description: Write the fabric's netplan file, once netplan has accepted it
version_added: 0.1.0
description:
  - Writes the file that M(sparkops.dgx_spark.fabric_plan) rendered.
  - >-
    Before it replaces anything, also in check mode, netplan's generator must accept the new file together with all
    other netplan files of the host, in a copy of them.
  - It does not apply the file.
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
  path:
    description: The file, below C(/etc/netplan). It belongs to root with mode 0600, and is owned as a whole.
    type: path
    default: /etc/netplan/40-cx7.yaml
  content:
    description: All that is in it (RV(sparkops.dgx_spark.fabric_plan#module:hosts.files)).
    type: str
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Write the netplan file
  sparkops.dgx_spark.fabric_netplan:
    content: "{{ fabric.hosts[inventory_hostname].files['/etc/netplan/40-cx7.yaml'] }}"
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /etc/netplan/40-cx7.yaml
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.netplan_root import GENERATORS, PLACES, ask
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import diff
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import write


def ask_netplan(module: AnsibleModule, path: Path, content: str) -> None:
    """Have netplan check the file among copies of all others, or fail."""
    try:
        answer = ask(module, path, content, PLACES, GENERATORS)
    except FileNotFoundError as exc:
        module.fail_json(msg=f"{exc}. Nothing was changed.")
    if answer.problem:
        module.fail_json(
            msg=f"netplan refuses {path} together with the other files here, and nothing was changed: "
            f"{answer.problem}; mend the file that it names (try 'sudo netplan generate')",
            rc=answer.rc,
            stdout=answer.out,
            stderr=answer.err,
        )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/netplan/40-cx7.yaml"},
            "content": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LANGUAGE": "C", "LC_ALL": "C"}
    path, content = Path(module.params["path"]), module.params["content"]
    try:
        before = path.read_bytes().decode(errors="replace") if path.exists() else ""
    except OSError as exc:
        module.fail_json(
            msg=f"{path} cannot be read ({exc.strerror or exc}): see what is in its place, and run the task as root "
            "(become). Nothing was changed."
        )
    changed = before != content
    if changed:
        ask_netplan(module, path, content)
        if not module.check_mode:
            write(module, path, content)
    if path.exists():
        changed = module.set_fs_attributes_if_different(
            module.load_file_common_arguments({"owner": "root", "group": "root", "mode": "0600"}, path=str(path)),
            changed,
        )
    module.exit_json(changed=changed, path=str(path), diff=diff(before, content, str(path)))


if __name__ == "__main__":
    main()
