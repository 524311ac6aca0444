#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: spark_host_check
short_description: Check that what the role spark_host has planned is in effect
version_added: 0.1.0
description:
  - >-
    Asks the programs themselves, and not their files: the ssh server what it goes by, systemd which units are active,
    logind, apt and earlyoom for their settings. Fails where one is not as planned. Needs root.
  - >-
    With O(try_ban) an address of the network for documentation, 192.0.2.0/24, is banned for a moment, and looked for in
    the firewall: fail2ban lists an address as banned although its action fails.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  planned:
    description: What RV(sparkops.dgx_spark.spark_host_plan#module:hosts) has of this host.
    type: dict
    required: true
  try_ban:
    description: Whether a ban is tried.
    type: bool
    default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Check the parts of the host
  sparkops.dgx_spark.spark_host_check:
    planned: "{{ spark_host_plan.hosts[inventory_hostname] }}"
  become: true
"""

RETURN = r"""
checks:
  description: By part what was seen.
  returned: success
  type: dict
  sample: {ipc: shared memory stays when a user logs out}
"""

import os
from typing import Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor.system import login_user
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host import check


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"planned": {"type": "dict", "required": True}, "try_ban": {"type": "bool", "default": False}},
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LANG": "C", "LC_ALL": "C", "LANGUAGE": "C"}

    def run(argv: Sequence[str]) -> tuple[int, str]:
        tool = module.get_bin_path(argv[0], opt_dirs=["/usr/sbin", "/sbin"])
        if not tool:
            return 127, f"{argv[0]} is not there"
        code, out, err = module.run_command([tool, *argv[1:]])
        return code, out if code == 0 else out + err

    try_ban = module.params["try_ban"] and not module.check_mode
    try:
        seen = check.checks(run, module.params["planned"], login_user(), try_ban)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{os.uname().nodename} is not as planned: {told(error)}. Nothing was changed.")
    module.exit_json(changed=False, checks=seen)


if __name__ == "__main__":
    main()
