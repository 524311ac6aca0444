#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_absent
short_description: Remove an API gateway from a Spark
version_added: 0.1.0
description:
  - >-
    Stops the gateway, which ends what it answers, and removes its unit and its files, keys and certificates with them.
    Packages, and HAProxy's own service and configuration, stay as they are.
  - Directories of the collection that are empty then are removed. systemd is not told to read its units again.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.gateway
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  every:
    description: Whether the gateways of all instances are removed.
    type: bool
    default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Remove all gateways
  sparkops.dgx_spark.gateway_absent:
    every: true
  become: true
"""

RETURN = r"""
instances:
  description: The instances whose gateways were removed, or would be.
  returned: success
  type: list
  elements: str
  sample: [""]
comments:
  description: The comments of the firewall's rules that were theirs.
  returned: success
  type: list
  elements: str
  sample: [DGX Spark gateway]
"""

import os
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import instance_problem
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import host
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import SHARED, Layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told


def is_there(places: Layout) -> bool:
    """Whether anything of a gateway is left."""
    return any(os.path.lexists(path) for path in (places.directory, places.unit_file, places.unit_link))


def remove(module: AnsibleModule, places: Layout) -> None:
    """Remove one. :raises OSError:"""
    systemctl = module.get_bin_path("systemctl", required=True)
    if Path(places.unit_file).exists():
        module.run_command([systemctl, "stop", places.unit], check_rc=True)
    Path(places.unit_link).unlink() if os.path.lexists(places.unit_link) else None
    Path(places.unit_file).unlink() if os.path.lexists(places.unit_file) else None
    module.run_command([systemctl, "reset-failed", places.unit])  # which fails for one that has not
    if Path(places.directory).is_dir():
        shutil.rmtree(places.directory)


def remove_empty(path: Path) -> None:
    """Remove a directory of the collection in which nothing is left."""
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"instance": {"type": "str", "default": ""}, "every": {"type": "bool", "default": False}},
        supports_check_mode=True,
    )
    asked, name = module.params, os.uname().nodename
    problem = instance_problem(asked["instance"])
    if problem:
        module.fail_json(msg=f"{name}: {problem}. Nothing was changed.")
    names = [asked["instance"], *(host.instances() if asked["every"] else [])]
    left = [places for places in map(Layout, sorted(set(names))) if is_there(places)]
    try:
        if not module.check_mode:
            for places in left:
                remove(module, places)
            for path in SHARED if left else ():
                remove_empty(Path(path))
    except OSError as error:
        module.fail_json(msg=f"{name}: the gateway cannot be removed: {told(error)}")
    module.exit_json(
        changed=bool(left),
        instances=[places.instance for places in left],
        comments=[Layout(one).comment for one in sorted(set(names))],
    )


if __name__ == "__main__":
    main()
