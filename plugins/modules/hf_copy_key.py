#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_copy_key
short_description: Make the key for one copy of a model, or take it away
version_added: "0.1.0"
description:
  - Makes a new ssh key pair on the Spark that is to copy a model from another. The private key never leaves it.
  - Tells from which address it reaches the other, so that the key can be bound to that.
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
    details: O(state=present) makes a new key each time. Of O(state=absent) it holds.
options:
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
- name: Make a key for this run
  sparkops.dgx_spark.hf_copy_key:
    peer: 192.168.100.10
  register: key
"""

RETURN = r"""
pass:
  description:
    - The address from which O(peer) is reached, and the public key.
    - Not returned in check mode, which makes none.
  returned: O(state=present)
  type: str
  sample: 192.168.100.11 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6WZb0P1Qf0m1bM4uJ0q3XbTq7C0m0r9cX0kq1Z8f3v
"""

import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import CACHE_OPTION, OWN_DIR, make_own
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.copy import CopyError, check_key, source_address


def make_key(module: AnsibleModule, folder: Path) -> str:
    """Make the pair; return the public key."""
    program = module.get_bin_path("ssh-keygen")
    if program is None:
        module.fail_json(msg="ssh-keygen is not there: install openssh-client")
    if folder.exists():  # an interrupted run's
        shutil.rmtree(folder)
    make_own(folder.parent)
    path = make_own(folder) / "id_ed25519"
    module.run_command([program, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check_rc=True)
    return check_key(path.with_suffix(".pub").read_text(encoding="utf-8"))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "cache_dir": CACHE_OPTION,
            "peer": {"type": "str"},
            "port": {"type": "int", "default": 22},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["peer"])],
        supports_check_mode=True,
    )
    folder = Path(module.params["cache_dir"], OWN_DIR, "copy")
    try:
        if module.params["state"] == "absent":
            changed = folder.exists()
            if changed and not module.check_mode:
                shutil.rmtree(folder)
            module.exit_json(changed=changed)
        address = source_address(module.params["peer"], module.params["port"])
        told = {} if module.check_mode else {"pass": f"{address} {make_key(module, folder)}"}
    except (CopyError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=True, **told)


if __name__ == "__main__":
    main()
