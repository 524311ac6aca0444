#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: spark_updates_info
short_description: Read what could be updated on a Spark
version_added: 0.1.0
description:
  - >-
    Has apt simulate an upgrade by the lists that the host has, asks C(fwupdmgr), where there is one, for firmware by
    the metadata that it has, and tells whether a reboot is due and what is configured to be served. Needs root.
  - Neither lists nor metadata are fetched.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  upgrade:
    description: >-
      V(dist) may remove packages, as NVIDIA's own updates need it; V(safe) installs new ones and removes none.
    type: str
    choices: [dist, safe]
    default: dist
  firmware:
    description: Whether C(fwupdmgr) is asked.
    type: bool
    default: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read what could be updated
  sparkops.dgx_spark.spark_updates_info:
  become: true
  register: updates
"""

RETURN = r"""
packages:
  description: In words the packages that would be upgraded or installed.
  returned: success
  type: list
  elements: str
  sample: ["docker-ce 5:29.1 -> 5:29.2"]
removes:
  description: The packages that would be removed.
  returned: success
  type: list
  elements: str
  sample: []
needed:
  description: Those of RV(removes) that a Spark needs.
  returned: success
  type: list
  elements: str
  sample: []
firmware:
  description: In words the devices with newer firmware.
  returned: success
  type: list
  elements: str
  sample: ["UEFI Device Firmware 1 -> 2"]
reboot_required:
  description: Whether an earlier update asks for a reboot.
  returned: success
  type: bool
  sample: false
due:
  description: Whether there is anything to do.
  returned: success
  type: bool
  sample: true
servings:
  description: What is configured to be served, each with C(engine), C(instance), C(members) and C(stopped).
  returned: success
  type: list
  elements: dict
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host import updates


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "upgrade": {"type": "str", "choices": ["dist", "safe"], "default": "dist"},
            "firmware": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LANGUAGE": "C", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    verb = ["dist-upgrade"] if module.params["upgrade"] == "dist" else ["--with-new-pkgs", "upgrade"]
    apt = module.get_bin_path("apt-get", required=True)
    code, said, err = module.run_command([apt, "--simulate", *verb])
    if code:
        module.fail_json(
            msg=f"{os.uname().nodename}: apt cannot plan an upgrade: {err.strip()[-300:]}. Nothing was changed. See "
            "'sudo apt-get check'."
        )
    tool = module.get_bin_path("fwupdmgr") if module.params["firmware"] else None
    offered = updates.firmware(module.run_command([tool, "get-updates", "--json"])[1]) if tool else []
    packages, removes = updates.upgrades(said), updates.removals(said)
    reboot = Path(updates.REBOOT).exists()
    module.exit_json(
        changed=False,
        packages=packages,
        removes=removes,
        needed=updates.needed(removes),
        firmware=offered,
        reboot_required=reboot,
        due=bool(packages or removes or offered or reboot),
        servings=updates.servings(),
    )


if __name__ == "__main__":
    main()
