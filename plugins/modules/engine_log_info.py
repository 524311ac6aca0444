#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_log_info
short_description: Read the last lines of all serving containers of a Spark, with their times
version_added: 0.1.0
description:
  - >-
    Reads what the newest container of each serving that is configured here has written, also where it has ended. Needs
    root, or a user of the group C(docker).
  - What it returns is not printed with C(-v).
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  after:
    description: The RV(newest) of an earlier call, to read what has come since. Empty for the last lines.
    type: str
    default: ""
  lines:
    description: How many lines of each container, at most.
    type: int
    default: 100
  name:
    description: The directory of the one serving that is read, such as C(trtllm-vlm). Empty for all.
    type: str
    default: ""
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read the last lines of all servings
  sparkops.dgx_spark.engine_log_info:
    lines: 20
  become: true
  register: said
"""

RETURN = r"""
entries:
  description: The lines, each with C(at), its time in UTC, C(name) and C(text).
  returned: success
  type: list
  elements: dict
newest:
  description: The time of the last line; what O(after) is to be in the next call.
  returned: success
  type: str
  sample: "2026-11-30T22:10:11.123456789"
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.container_log import newest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, log_lines
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import ROOTS


def servings(etc: str = ROOTS[0]) -> list[str]:
    """The directories of the servings that are configured here."""
    return sorted(path.parent.name for path in Path(etc).glob(f"*/{contract.CLUSTER}"))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "after": {"type": "str", "default": ""},
            "lines": {"type": "int", "default": 100},
            "name": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    asked, found = module.params, []
    try:
        for serving in servings():
            if asked["name"] in ("", serving):
                _name, lines = newest(Docker(), f"dgx-spark-{serving}", asked["lines"], times=True)
                found += log_lines.entries(serving, lines, asked["after"])
    except DockerError as error:
        module.fail_json(msg=f"{os.uname().nodename}: {error}. Nothing was changed.")
    module.exit_json(changed=False, entries=found, newest=log_lines.newest(found, asked["after"]))


if __name__ == "__main__":
    main()
