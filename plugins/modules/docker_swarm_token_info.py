#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_swarm_token_info
short_description: Read the token that lets a worker join a swarm
version_added: 0.1.0
description:
  - Reads it from the engine of a manager, over the Docker Engine API. It is a secret, so set C(no_log).
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.docker
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read the token
  sparkops.dgx_spark.docker_swarm_token_info:
  no_log: true
  register: token
"""

RETURN = r"""
worker:
  description: The token, null if the engine does not manage a swarm.
  returned: success
  type: str
  sample: SWMTKN-1-…
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    SOCKET_OPTION,
    Docker,
    DockerError,
    reads_answers,
)


@reads_answers
def token_of(docker: Docker) -> str:
    """Return the token by which workers join."""
    return str(docker.ask("GET", "/swarm")["JoinTokens"]["Worker"])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=SOCKET_OPTION, supports_check_mode=True)
    try:
        worker = token_of(Docker(module.params["docker_socket"]))
    except DockerError as exc:
        if exc.status != 503:  # what an engine says that does not manage a swarm
            module.fail_json(msg=str(exc))
        worker = None
    module.exit_json(changed=False, worker=worker)


if __name__ == "__main__":
    main()
