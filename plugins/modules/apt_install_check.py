#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_install_check
short_description: Check that an installation leaves Docker's packages alone
version_added: 0.1.0
description:
  - >-
    Has apt simulate an installation, and fails where apt would install, upgrade or remove a package of Docker Engine.
    DGX OS brings its own Docker, and another would end what runs in it.
  - >-
    Fails with apt's reason where apt cannot install the packages at all. A host that has no package lists yet passes,
    since an installation updates the lists first.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  packages:
    description: What is to be installed, each a name or C(name=version).
    type: list
    elements: str
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Check that the installation leaves Docker's packages alone
  sparkops.dgx_spark.apt_install_check:
    packages: [nvidia-container-toolkit]
"""

RETURN = r"""
new:
  description: The packages that would be new on the host.
  returned: success
  type: list
  elements: str
  sample: [libnvidia-container1, nvidia-container-toolkit]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import (
    docker_steps,
    has_lists,
    new_packages,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"packages": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    module.run_command_environ_update = {"LANGUAGE": "C", "LC_ALL": "C"}
    tool = module.get_bin_path("apt-get", required=True)
    argv = [tool, "--simulate", "--no-install-recommends", "--allow-downgrades", "install", *module.params["packages"]]
    rc, out, err = module.run_command(argv)
    if rc != 0 and not has_lists():
        module.exit_json(changed=False, new=[])
    if rc != 0:
        module.fail_json(
            msg=f"{err.strip() or out.strip()}. Update the package lists (sudo apt-get update), or enable the "
            "repository that has the package"
        )
    touched = docker_steps(out)
    if touched:
        module.fail_json(
            msg=f"installing {' '.join(module.params['packages'])} would touch {', '.join(touched)}, and DGX OS brings "
            "its own Docker"
        )
    module.exit_json(changed=False, new=new_packages(out))


if __name__ == "__main__":
    main()
