#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_daemon_check
short_description: Check that the Docker daemon accepts a configuration
version_added: 0.1.0
description:
  - Has C(dockerd --validate) read a text for C(daemon.json) and fails with the daemon's reason. Nothing is written.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  content:
    description: The text that C(daemon.json) would have.
    type: str
    required: true
  dockerd:
    description: Name or path of the daemon. One that is older than C(--validate) is not asked.
    type: path
    default: dockerd
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Check that Docker accepts its new configuration
  sparkops.dgx_spark.docker_daemon_check:
    content: '{"default-runtime": "nvidia"}'
"""

RETURN = r"""
validated:
  description: Whether the host has a daemon that can validate, and it accepts the text.
  returned: success
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import DaemonJsonError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.dockerd import validate


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "content": {"type": "str", "required": True},
            "dockerd": {"type": "path", "default": "dockerd"},
        },
        supports_check_mode=True,
    )
    try:
        validated = validate(module, module.params["content"], module.params["dockerd"])
    except DaemonJsonError as error:
        module.fail_json(msg=f"daemon.json: {error}")
    module.exit_json(changed=False, validated=validated)


if __name__ == "__main__":
    main()
