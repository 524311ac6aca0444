#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_swarm_ports_check
short_description: Check that other hosts can be reached on the ports of a swarm
version_added: 0.1.0
description:
  - >-
    Connects to TCP 2377 and 7946 and sends to UDP 7946 and 4789 of other hosts, from the host that it runs on, and
    fails, naming host and port, where no answer comes. Nothing has to listen there: a host that can be reached answers
    that a port is closed, and a firewall that drops answers nothing.
  - >-
    A firewall that refuses instead of dropping looks like a closed port, and a UDP port that is in use looks
    like a filtered one: silence on UDP counts for hosts alone that are in no swarm yet.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  peers:
    description: Addresses of the other hosts by their names.
    type: dict
    required: true
  in_swarm:
    description: Names of those that are in a swarm already.
    type: list
    elements: str
    default: []
  timeout:
    description: How many seconds a port has to answer.
    type: int
    default: 3
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Check that the other Spark can be reached
  sparkops.dgx_spark.docker_swarm_ports_check:
    peers: {spark2: 192.168.1.22}
"""

RETURN = r"""
peers:
  description: Names of the hosts that were reached.
  returned: success
  type: list
  elements: str
  sample: [spark2]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm_ports import problems


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "peers": {"type": "dict", "required": True},
            "in_swarm": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    asked = module.params
    peers = {name: str(address) for name, address in asked["peers"].items()}
    wrong = problems(peers, asked["in_swarm"], asked["timeout"])
    if wrong:
        module.fail_json(
            msg=f"ports of the swarm do not reach {'; '.join(wrong)}. No swarm was changed. Allow the ports on that "
            "host, from the other members (ufw allow from <member> to any port <port> proto <tcp or udp>)"
        )
    module.exit_json(changed=False, peers=sorted(asked["peers"]))


if __name__ == "__main__":
    main()
