#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fabric_member_info
short_description: Tell all that the plan of a fabric must know of a host
version_added: "0.1.0"
description:
  - >-
    Puts together what M(sparkops.dgx_spark.fabric_plan_info) needs of one host: its name, its ConnectX-7 links, and the
    IPv4 networks that its addresses and routes use, so that the fabric stays clear of them.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  name:
    description: The host's name in the inventory.
    type: str
    required: true
  host:
    description: Its management name or address (C(ansible_host)).
    type: str
    required: true
  links:
    description: RV(sparkops.dgx_spark.ibdev2netdev_info#module:links) of the host.
    type: list
    elements: dict
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: See the ConnectX-7 ports
  sparkops.dgx_spark.ibdev2netdev_info:
  register: ports

- name: See the networks in use
  sparkops.dgx_spark.fabric_member_info:
    name: "{{ inventory_hostname }}"
    host: "{{ ansible_host }}"
    links: "{{ ports.links }}"
  register: discovered
"""

RETURN = r"""
member:
  description: What is known of the host.
  returned: success
  type: dict
  contains:
    name:
      description: O(name).
      type: str
      sample: spark1
    host:
      description: O(host).
      type: str
      sample: spark1.local
    links:
      description: O(links).
      type: list
      elements: dict
    networks:
      description:
        - The networks that an address or a route of any routing table names, sorted.
        - Loopback and routes to everywhere (default routes, and the halves of one that VPNs set) are left out.
      type: list
      elements: dict
      contains:
        network:
          description: The network.
          type: str
          sample: 192.168.1.0/24
        netdev:
          description: Its network device, null where a route names none.
          type: str
          sample: enP7s7
    addresses:
      description: The host's own addresses, loopback left out.
      type: list
      elements: str
      sample: [192.168.1.21, 172.17.0.1]
    management_address:
      description: The host's address on the network device of its best default route, null where there is none.
      type: str
      sample: 192.168.1.21
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric_networks import (
    NetworksError,
    management_address,
    own_addresses,
    used_networks,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "links": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    ip = module.get_bin_path("ip", required=True)
    _rc, addr, _err = module.run_command([ip, "-j", "-4", "addr"], check_rc=True)
    _rc, route, _err = module.run_command([ip, "-j", "-4", "route", "show", "table", "all"], check_rc=True)
    try:
        member = {
            **{name: module.params[name] for name in ("name", "host", "links")},
            "networks": used_networks(addr, route),
            "addresses": own_addresses(addr),
            "management_address": management_address(addr, route),
        }
    except NetworksError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, member=member)


if __name__ == "__main__":
    main()
