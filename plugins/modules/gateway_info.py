#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_info
short_description: Read what a Spark has of an API gateway
version_added: 0.1.0
description:
  - >-
    Reads the files of the gateway, the clients, what the HAProxy that runs has read of them, the certificate, the
    firewall and who listens on the gateway's port. Needs root.
  - No key is returned, since none is kept; of the clients the SHA-256 of their keys is.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.gateway
options:
  address:
    description: Where the gateway is to listen; empty for not to look.
    type: str
    default: ""
  port:
    description: The port that it is to listen on.
    type: int
    default: 443
  firewall:
    description: >-
      What is asked of ufw. With V(auto) it is asked where it is enabled, with V(ufw) wherever it is installed, and with
      V(none) not at all.
    type: str
    choices: [auto, ufw, none]
    default: ufw
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read what the leader has of a gateway
  sparkops.dgx_spark.gateway_info:
    address: 0.0.0.0
    port: 443
  become: true
  register: gateway
"""

RETURN = r"""
instances:
  description: The instances that have a gateway here, the empty name for the one without a name.
  returned: success
  type: list
  elements: str
  sample: [""]
names:
  description: The names of this host.
  returned: success
  type: list
  elements: str
  sample: [spark1, spark1.local]
packages:
  description: Which of the packages that the gateway needs are installed.
  returned: success
  type: list
  elements: str
  sample: [haproxy, openssl]
unavailable:
  description: Which of those that are not are in no package source that this host has lists of.
  returned: success
  type: list
  elements: str
  sample: []
entries:
  description: By path what lies there, with C(kind), C(mode), C(digest), and C(content) where that is no secret.
  returned: success
  type: dict
unit:
  description: The state of the gateway's unit, as systemd names it.
  returned: success
  type: str
  sample: active
told:
  description: By what the HAProxy that runs tells which configuration it has read. Empty where none runs.
  returned: success
  type: str
  sample: 31e7b7131b989a50
shown:
  description: The SHA-1 of the certificate that it shows. Empty where it shows none.
  returned: success
  type: str
stale:
  description: Which of its maps are not as the clients are.
  returned: success
  type: list
  elements: str
  sample: []
clients:
  description: By name the clients, each with the C(sha256) of its key, its limits, C(origin) and C(created).
  returned: success
  type: dict
clients_problem:
  description: Why the file of the clients cannot be read, empty where it can.
  returned: success
  type: str
  sample: ""
certificate:
  description: C(names), C(not_after) in seconds since the epoch, C(sha1) and the SHA-256 C(digest) of the file.
  returned: success
  type: dict
listen:
  description: Whether the port is C(taken) by another program, and C(holders), who has it.
  returned: success
  type: dict
firewall:
  description: Whether ufw is C(installed) and C(enabled), and its C(rules).
  returned: success
  type: dict
ufw_enabled:
  description: Whether ufw is enabled.
  returned: success
  type: bool
  sample: false
addresses:
  description: The global addresses of this host with their netdevs.
  returned: success
  type: list
  elements: str
  sample: [192.168.1.21/24 on enP7s7]
"""

import os
from typing import Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import instance_problem
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import host
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import Layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "str", "default": ""},
            "address": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 443},
            "firewall": {"type": "str", "choices": ["auto", "ufw", "none"], "default": "ufw"},
        },
        supports_check_mode=True,
    )
    asked = module.params
    unnamed = instance_problem(asked["instance"])
    if unnamed:
        module.fail_json(msg=f"{unnamed}. Nothing was changed.")
    module.run_command_environ_update = {"LANG": "C", "LC_ALL": "C"}

    def run(argv: Sequence[str]) -> tuple[int, str]:
        tool = module.get_bin_path(argv[0])
        if not tool:
            return 127, ""
        code, out, _err = module.run_command([tool, *argv[1:]])
        return code, out

    listen = {"address": asked["address"], "port": asked["port"]} if asked["address"] else {}
    try:
        found = host.look(run, Layout(asked["instance"]), listen, asked["firewall"])
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{os.uname().nodename} cannot be read: {told(error)}. Nothing was changed.")
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
