#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_history_info
short_description: Read which models a serving has had
version_added: 0.1.0
description:
  - Reads the history that the role engine_serve keeps on the leader, of the last 20 models and options that were tried.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  engine:
    description: The engine, by which the directories are named.
    type: str
    required: true
  instance:
    description: The instance's name, where there are several. Empty for that without a name.
    type: str
    default: ""
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read which models have served
  sparkops.dgx_spark.engine_history_info:
    engine: trtllm
  register: served
"""

RETURN = r"""
history:
  description: >-
    The entries, the oldest first, each with C(at), in seconds since the epoch, C(repo), C(commit), C(config),
    C(outcome) (C(served), or C(put back) where it did not serve and the last good one was put back), C(why), and
    C(asked), the options.
  returned: success
  type: list
  elements: dict
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import history
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import instance_problem, layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "engine": {"type": "str", "required": True},
            "instance": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    unnamed = instance_problem(module.params["instance"])
    if unnamed:
        module.fail_json(msg=f"{unnamed}. Nothing was changed.")
    places = layout(module.params["engine"], module.params["instance"])
    try:
        found = history.read(Path(places["config_dir"]))
    except OSError as error:
        module.fail_json(msg=f"{os.uname().nodename} cannot be read: {told(error)}. Nothing was changed.")
    module.exit_json(changed=False, history=found)


if __name__ == "__main__":
    main()
