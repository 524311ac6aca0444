#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_log_info
short_description: Read the last lines of the newest container of a name
version_added: 0.1.0
description:
  - Reads what the newest container whose name begins as asked has written, also when it has ended.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  name:
    description: How the container's name begins. Swarm adds to it.
    type: str
    required: true
  lines:
    description: How many lines, at most.
    type: int
    default: 20
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: See what it wrote last
  sparkops.dgx_spark.docker_log_info:
    name: dgx-spark-trtllm
  become: true
  register: said
"""

RETURN = r"""
container:
  description: The container's name, empty if there is none.
  returned: success
  type: str
  sample: dgx-spark-trtllm_leader.1.k2j4h5
lines:
  description: Its last lines, oldest first.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.container_log import newest


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"name": {"type": "str", "required": True}, "lines": {"type": "int", "default": 20}},
        supports_check_mode=True,
    )
    try:
        name, lines = newest(Docker(), module.params["name"], module.params["lines"])
    except DockerError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, container=name, lines=lines)


if __name__ == "__main__":
    main()
