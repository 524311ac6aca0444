#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tcp_port_info
short_description: See that no other program listens on a TCP port
version_added: 0.1.0
description:
  - Looks up who listens on a port of this host, and fails, naming the process and its container, where that is
    somebody else and leaves no room for one more.
  - Needs root, to see which process a socket belongs to.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  address:
    description:
      - The IP address that something is to listen on; V(0.0.0.0) and V(::) stand for all.
      - The host need not have it yet.
    type: str
    required: true
  port:
    description: The port.
    type: int
    required: true
  own:
    description: The name of the Docker container, or of the stack, that may listen there already.
    type: str
    default: ""
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: See that the API's port is free, or our own server's
  sparkops.dgx_spark.tcp_port_info:
    address: 127.0.0.1
    port: 8355
    own: dgx-spark-trtllm
  become: true
"""

RETURN = r"""
holders:
  description: The processes that listen there, by number.
  returned: success
  type: list
  elements: dict
  contains:
    pid:
      description: The process.
      type: int
      sample: 4711
    name:
      description: Its short name.
      type: str
      sample: nginx
    container:
      description: Its Docker container, empty where it runs in none.
      type: str
      sample: web
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.tcp_port import taken


def containers() -> dict[str, str]:
    """Return the names of the containers that run, by their IDs; none where there is no Docker."""
    try:
        return {one["Id"]: one["Names"][0].lstrip("/") for one in Docker().running()}
    except DockerError:
        return {}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "own": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    address, port = module.params["address"], module.params["port"]
    try:
        foreign, who = taken(address, port, module.params["own"], containers())
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"cannot tell who listens on port {port} of {address}: {error}")
    if foreign:
        first = {(one.name, one.container): one for one in reversed(who)}  # of a server and its children
        named = " and ".join(str(one) for one in first.values()) or "something that /proc does not name"
        module.fail_json(
            msg=f"port {port} of {address} is taken by {named}. Nothing was changed. End that, or choose another port"
        )
    module.exit_json(changed=False, holders=[asdict(one) for one in who])


if __name__ == "__main__":
    main()
