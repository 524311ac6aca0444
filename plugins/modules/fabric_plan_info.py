#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fabric_plan_info
short_description: Plan the addresses of a fabric of DGX Sparks
version_added: "0.1.0"
description:
  - >-
    Tells which cages face each other, and gives each half of each cabled cage an address: the two ends of a link in the
    same /24, no two halves of a host in one.
  - A pure calculation from what was discovered on every host. Wherever it runs, the same input gives the same plan.
  - >-
    What cannot be a fabric (no cable, half a cable, the same machine twice, no free network) is refused with the hosts'
    names and the mend.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  names:
    description: >-
      The names of all hosts of the fabric in rank order, the leader first. One host alone has no fabric, and a plan.
    type: list
    elements: str
    required: true
  members:
    description: >-
      RV(sparkops.dgx_spark.fabric_member_info#module:member) of each of them, in any order. The plan is refused
      where one is missing, so that a part of the group never makes a plan of its own.
    type: list
    elements: dict
    required: true
  topology:
    description:
      - V(direct) joins two hosts by one or two cables, V(ring) three by three, V(switch) any number through a switch.
      - V(auto) takes V(direct) for two hosts, V(ring) for three of which one has two cables, else V(switch).
    type: str
    choices: [auto, direct, ring, switch]
    default: auto
  cables:
    description:
      - How the cables between hosts run, each as its two ends, C(name:cage).
      - >-
        Not needed where the hosts listened to one another
        (RV(sparkops.dgx_spark.fabric_member_info#module:member.heard)); the plan is refused where the wires say
        otherwise. Without both, cables are taken to join cages of the same number, and a ring to join cage 0 of each
        host to cage 1 of the next.
    type: list
    elements: list
    default: []
  pool:
    description: Private networks of /12 to /24 to take /24s from, in order. What a host uses already is left out.
    type: list
    elements: str
    default: [192.168.100.0/22, 10.100.100.0/22, 172.30.100.0/22]
  mtu:
    description: >-
      MTU of the cabled halves. V(0) is 9000 for hosts that are cabled to one another; behind a switch it leaves the MTU
      alone, and wants it to be the same everywhere.
    type: int
    default: 0
  addressing:
    description:
      - V(static) plans an address for each half.
      - >-
        V(link_local) lets half A of each cage choose one of 169.254.0.0/16 for itself. It needs no plan, and costs half
        the bandwidth (half B would be in the same network, and stays without) and lasting addresses.
      - V(dhcp) asks a server on the switch, for both halves.
      - With the latter two RV(plan.hosts.links) is empty until the addresses are there.
    type: str
    choices: [static, link_local, dhcp]
    default: static
  addresses:
    description: >-
      Addresses with prefix length to give instead of planned ones, by host and network device. The other end of such a
      link follows into its network.
    type: dict
    default: {}
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

- name: Plan for both hosts, on each of them
  sparkops.dgx_spark.fabric_plan_info:
    names: [spark1, spark2]
    members:
      - "{{ hostvars.spark1.discovered.member }}"
      - "{{ hostvars.spark2.discovered.member }}"
  register: planned
"""

RETURN = r"""
plan:
  description: The same on every host.
  returned: success
  type: dict
  contains:
    topology:
      description: V(single), V(direct), V(ring) or V(switch).
      type: str
      sample: direct
    addressing:
      description: O(addressing).
      type: str
      sample: static
    mtu:
      description: Size of the packets that the links shall carry, null for a host alone.
      type: int
      sample: 9000
    raise:
      description: >-
        By host, the network devices that are administratively down, so that nobody knows what is behind them. Where
        there are any, the rest made no fabric and the plan is an assumption; raise them, and plan again.
      type: dict
      sample: {}
    hosts:
      description: What each host gets, by its name, in rank order.
      type: dict
      contains:
        control_address:
          description: >-
            The address at which all others reach the host: its first half A, but on a ring, where no one network
            reaches all, and for a host alone, its management address, as with C(link_local) and C(dhcp) as
            long as there is no other.
          type: str
          sample: 192.168.100.10
        control_netdev:
          description: The network device of that address, null where the host's networks do not tell it.
          type: str
          sample: enp1s0f0np0
        control_network:
          description: The network of that address, null where the host's networks do not tell it.
          type: str
          sample: 192.168.100.0/24
        fabric_name:
          description: A name for that address.
          type: str
          sample: spark1-fabric
        links:
          description: >-
            One entry for each half and each peer that it reaches. On a switch a half has several, with one address.
          type: list
          elements: dict
          contains:
            netdev:
              description: Name of the network device.
              type: str
              sample: enp1s0f0np0
            rdma_device:
              description: Name of the RDMA device.
              type: str
              sample: rocep1s0f0
            port:
              description: Port number within the RDMA device.
              type: int
              sample: 1
            physical_port:
              description: Number of the QSFP cage.
              type: int
              sample: 0
            half:
              description: Half of the cage, V(A) or V(B).
              type: str
              sample: A
            address:
              description: Planned address with prefix length.
              type: str
              sample: 192.168.100.10/24
            network:
              description: The network of that address, which the ends of one cable are in, or all at one switch.
              type: str
              sample: 192.168.100.0/24
            peer:
              description: Name of the host at the other end.
              type: str
              sample: spark2
            peer_address:
              description: Planned address of the same half there.
              type: str
              sample: 192.168.100.11
            peer_physical_port:
              description: Number of the cage there.
              type: int
              sample: 0
            peer_netdev:
              description: Name of the network device there.
              type: str
              sample: enp1s0f0np0
            peer_mac:
              description: Its hardware address.
              type: str
              sample: 3c:6d:66:cc:b3:b7
        netdevs:
          description: What each network device of its ConnectX-7 shall be, for M(sparkops.dgx_spark.fabric_netplan).
          type: dict
key:
  description: >-
    A digest of the plan and of each host's boot, for M(sparkops.dgx_spark.fabric_bandwidth): a network card may be in
    another state after each.
  returned: success
  type: str
table:
  description: The plan as the lines of a table.
  returned: success
  type: list
  elements: str
drift:
  description: >-
    By host, the cabled network devices that are not now what the plan says, in address, MTU, or for whom they answer
    ARP.
  returned: success
  type: dict
  sample: {spark1: [enp1s0f0np0, enP2p1s0f0np0], spark2: []}
"""

import hashlib
import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.cabling import FabricError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.plan import (
    ADDRESSINGS,
    POOL,
    TOPOLOGIES,
    describe,
    find_drift,
    plan_fabric,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "members": {"type": "list", "elements": "dict", "required": True},
            "topology": {"type": "str", "choices": list(TOPOLOGIES), "default": "auto"},
            "cables": {"type": "list", "elements": "list", "default": []},
            "pool": {"type": "list", "elements": "str", "default": list(POOL)},
            "mtu": {"type": "int", "default": 0},
            "addressing": {"type": "str", "choices": list(ADDRESSINGS), "default": "static"},
            "addresses": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        plan = plan_fabric(**module.params)
        drift = find_drift(plan, module.params["members"])
    except FabricError as exc:
        module.fail_json(msg=f"No fabric can be planned: {exc}")
    boots = {member["name"]: member.get("boot_id") for member in module.params["members"]}
    key = hashlib.sha256(json.dumps([plan, boots], sort_keys=True).encode()).hexdigest()
    module.exit_json(changed=False, plan=plan, drift=drift, key=key, table=describe(plan))


if __name__ == "__main__":
    main()
