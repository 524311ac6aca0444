#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fabric_plan
short_description: Plan the addresses of a fabric of DGX Sparks, and the changes that they need
version_added: 0.1.0
description:
  - >-
    Finds out which cages face each other, and gives each half of each cabled cage an address. The two ends of a link
    are in the same /24, and no two halves of a host are in one.
  - Lists the changes that make each host as planned, and renders all files and firewall rules.
  - >-
    Runs on the controller and asks no host. It is a pure calculation from what was read on every host, so that the
    same input always gives the same plan.
  - >-
    What cannot be a fabric (no cable, half a cable, the same machine twice, no free network, a firewall rule in the
    way) is refused with the hosts' names and the mend.
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
        Not needed where the hosts found one another
        (RV(sparkops.dgx_spark.fabric_member_info#module:member.neighbors)); the plan is refused where the neighbors
        differ. Without both, cables are taken to join cages of the same number, and a ring to join cage 0 of each
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
      - With the latter two RV(hosts.links) is empty until the addresses are there.
    type: str
    choices: [static, link_local, dhcp]
    default: static
  addresses:
    description: >-
      Addresses with prefix length to give instead of planned ones, by host and network device. The other end of such a
      link follows into its network.
    type: dict
    default: {}
  netplan:
    description: Path of the fabric's netplan file.
    type: path
    default: /etc/netplan/40-cx7.yaml
  sysctl:
    description: Path of the file with the ARP settings.
    type: path
    default: /etc/sysctl.d/90-dgx-spark-fabric.conf
  program:
    description: SHA-256 of the rollback program that must be on a host before its network is changed.
    type: str
    required: true
  firewall:
    description: >-
      V(auto) plans the rules of the fabric where ufw is enabled, V(ufw) in any case, V(none) none.
    type: str
    choices: [auto, ufw, none]
    default: auto
  bandwidth_tool:
    description: >-
      What measures the bandwidth. V(auto) is V(ib_write_bw) where every planned link has an RDMA device, as on any
      Spark, and V(iperf3) elsewhere.
    type: str
    choices: [auto, ib_write_bw, iperf3]
    default: auto
  min_gbps:
    description: >-
      Gbit/s that two hosts must reach over all their links at once, by topology. It is not measured for a topology
      that is left out.
    type: dict
    default: {}
  changing:
    description: >-
      Whether this run is changing the network now, so that the rollback timers that run on the hosts are its own. Else
      the plan is refused where there is one.
    type: bool
    default: false
  hotplug:
    description:
      - V(off) plans to move the marker of the hot-plug driver away on every host, and to reboot all of them at the same
        time, where that driver is on at one of them. It takes a ConnectX-7 without a live cable off the PCI bus, and
        adds it again at plug-in, slow until a boot with the cable in.
      - V(leave) changes nothing about it.
    type: str
    choices: [leave, "off"]
    default: leave
  allow_restart:
    description: Whether that reboot may end running containers. Else the plan is refused where there are any.
    type: bool
    default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read the ports, networks and files of the fabric
  sparkops.dgx_spark.fabric_member_info:
    name: "{{ inventory_hostname }}"
    host: "{{ ansible_host }}"
    files: [/etc/netplan/40-cx7.yaml, /etc/sysctl.d/90-dgx-spark-fabric.conf, /etc/hosts]
    others: 1
  become: true
  register: found

- name: Plan the fabric
  sparkops.dgx_spark.fabric_plan:
    names: [spark1, spark2]
    members:
      - "{{ hostvars.spark1.found.member }}"
      - "{{ hostvars.spark2.found.member }}"
    program: "{{ lookup('ansible.builtin.file', 'fabric.py', rstrip=false) | hash('sha256') }}"
  register: fabric
"""

RETURN = r"""
topology:
  description: V(single), V(direct), V(ring) or V(switch).
  returned: success
  type: str
  sample: direct
addressing:
  description: O(addressing).
  returned: success
  type: str
  sample: static
mtu:
  description: Size of the packets that the links shall carry, null for a host alone.
  returned: success
  type: int
  sample: 9000
admin_down:
  description: >-
    By host, the network devices that are administratively down and must be raised before their cables are known.
    Where there are any, the other ports make no fabric and the plan is an assumption. Raise them, and plan again.
  returned: success
  type: dict
  sample: {}
hosts:
  description: What each host gets, by its name, in rank order.
  returned: success
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
    control_on_fabric:
      description: Whether that address is on a link of the fabric.
      type: bool
      sample: true
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
    rdma_devices:
      description: The RDMA devices of its links.
      type: list
      elements: str
      sample: [rocep1s0f0, roceP2p1s0f0]
    netdevs:
      description: >-
        The wanted state of each network device of its ConnectX-7. C(quiet) marks one that NetworkManager would give an
        address unasked.
      type: dict
    files:
      description: The text of the files at O(netplan) and O(sysctl), by path. Empty for a host alone.
      type: dict
    names:
      description: The lines of the fabric's block in C(/etc/hosts).
      type: list
      elements: str
      sample: [192.168.100.10 spark1-fabric, 192.168.100.11 spark2-fabric]
    firewall:
      description: The rules of the fabric for M(sparkops.dgx_spark.ufw_rules).
      type: list
      elements: dict
    changes_network:
      description: >-
        Whether the network of the host is to be changed, or must be planned again because another host's is.
      type: bool
      sample: true
changes:
  description: >-
    By host, the changes that are needed, in their order; an empty list where all is as planned. Each has C(name), the
    name of the task that makes it, and C(diff) where a text changes.
  returned: success
  type: dict
  sample:
    spark1: [{name: Measure the bandwidth}]
    spark2: []
key:
  description: >-
    A digest of the plan, of each host's boot and of the indexes of the planned network devices, for
    M(sparkops.dgx_spark.fabric_bandwidth). After a boot, or a hot-add of the card, which changes the indexes, the card
    may be in another state.
  returned: success
  type: str
hotplug:
  description: The hosts whose DGX OS takes a ConnectX-7 without a live cable off the PCI bus.
  returned: success
  type: list
  elements: str
  sample: [spark1, spark2]
table:
  description: The plan as the lines of a table.
  returned: success
  type: list
  elements: str
bandwidth_tool:
  description: O(bandwidth_tool), with V(auto) resolved.
  returned: success
  type: str
  sample: ib_write_bw
at:
  description: When the plan was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
