#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ibdev2netdev_info
short_description: Tell which network device belongs to which RDMA device, and its state
version_added: 0.1.0
description:
  - Lists the RDMA (RoCE) ports of a host with their network devices, link state, addresses and place in the machine.
  - >-
    On a DGX Spark each QSFP cage is wired as two PCIe links, so one cable shows up as two network devices,
    RV(links[].half) A and B. RV(ports) puts together what belongs to one cage.
  - Device, port, network device and state come from C(ibdev2netdev) or from sysfs, all else always from sysfs.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  source:
    description:
      - Where the mapping comes from.
      - >-
        V(auto) runs the tool, and reads sysfs where the tool is missing, prints nothing (it knows NVIDIA's and
        Mellanox's devices only), or exits with status 255 (it found no RDMA devices).
      - V(tool) fails where the tool is missing, and takes an empty output for a host without RDMA devices.
      - V(sysfs) does not run the tool. It lists RDMA devices of any make.
      - Output of the tool that cannot be read is a failure, never skipped.
    type: str
    choices: [auto, tool, sysfs]
    default: auto
  executable:
    description:
      - The tool's name, to be found on C(PATH), or its path.
      - The tool always reads C(/sys), whatever O(sysfs_root) says.
    type: path
    default: ibdev2netdev
  sysfs_root:
    description: Where sysfs is mounted.
    type: path
    default: /sys
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Look at the fabric
  sparkops.dgx_spark.ibdev2netdev_info:
  register: fabric

- name: A cable is in exactly one of the cages
  ansible.builtin.assert:
    that: fabric.ports | selectattr('state', 'eq', 'up') | length == 1

- name: Trust the kernel alone
  sparkops.dgx_spark.ibdev2netdev_info:
    source: sysfs
"""

RETURN = r"""
links:
  description: One entry for each RDMA device and port, sorted by these; empty on a host without RDMA devices.
  returned: success
  type: list
  elements: dict
  contains:
    rdma_device:
      description: Name of the RDMA device.
      type: str
      sample: rocep1s0f0
    port:
      description: Port number within the RDMA device, from 1.
      type: int
      sample: 1
    netdev:
      description:
        - Name of the network device, null where the port has none (InfiniBand without IPoIB).
        - Where the tool names a bond, the port of that bond that belongs to the RDMA device.
      type: str
      sample: enp1s0f0np0
    master:
      description: The bond, bridge or VRF that the network device is in, null where it is in none.
      type: str
      sample: bond0
    state:
      description:
        - V(up), V(down) or V(na) (no such network device), as the tool says it.
        - >-
          The tool also says V(down) of a device that is administratively down, with or without a cable. Where
          RV(links[].admin_up) is false, take the state for unknown, and set the device up to learn it.
      type: str
      sample: up
    admin_up:
      description: Whether the network device is administratively up, null if unknown.
      type: bool
      sample: true
    carrier:
      description: Whether there is a signal from the other end, null where that cannot be read (administratively down).
      type: bool
      sample: true
    speed_mbps:
      description: Speed of the cage in Mbit/s (both halves report it), null without carrier or if unknown.
      type: int
      sample: 200000
    mtu:
      description: MTU of the network device in bytes.
      type: int
      sample: 9000
    mac:
      description: Hardware address of the network device.
      type: str
      sample: 3c:6d:66:cc:b3:b7
    ipv4:
      description: IPv4 addresses with prefix length. Always empty where O(sysfs_root) is not V(/sys).
      type: list
      elements: str
      sample: [192.168.100.10/24]
    pci_address:
      description: PCI function, null if there is none.
      type: str
      sample: "0000:01:00.0"
    physical_port:
      description:
        - >-
          Number of the QSFP cage, on a DGX Spark V(0) (next to the RJ-45 socket) or V(1). From the driver's name of
          the port (V(p0)), else from the device's name (V(enp1s0f0np0), V(rocep1s0f0)), else the PCI function.
        - Null if none of them tells, as with a bond.
      type: int
      sample: 0
    half:
      description:
        - >-
          V(A) or V(B), by PCI domain among the links with the same PCI function number (on a DGX Spark domain V(0000)
          is A, V(0002) is B).
        - Null where there is one domain only.
      type: str
      sample: A
ports:
  description: The links put together by QSFP cage, sorted by its number. Links whose cage is not known are left out.
  returned: success
  type: list
  elements: dict
  contains:
    physical_port:
      description: Number of the cage.
      type: int
      sample: 0
    state:
      description: State of its links, V(mixed) where they differ.
      type: str
      sample: up
    rdma_devices:
      description: Its RDMA devices, half A first.
      type: list
      elements: str
      sample: [rocep1s0f0, roceP2p1s0f0]
    netdevs:
      description: Its network devices, half A first.
      type: list
      elements: str
      sample: [enp1s0f0np0, enP2p1s0f0np0]
source:
  description: Where the mapping came from, V(tool) or V(sysfs).
  returned: success
  type: str
  sample: tool
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.ibdev2netdev import (
    Ibdev2netdevError,
    group_ports,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.ports import read_links


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str", "choices": ["auto", "tool", "sysfs"], "default": "auto"},
            "executable": {"type": "path", "default": "ibdev2netdev"},
            "sysfs_root": {"type": "path", "default": "/sys"},
        },
        supports_check_mode=True,
    )
    root = module.params["sysfs_root"]
    if not Path(root, "class").is_dir():
        module.fail_json(msg=f"sysfs_root {root!r} holds no directory 'class': give the place where sysfs is mounted")
    try:
        links, source = read_links(module, module.params["source"], module.params["executable"], root)
    except Ibdev2netdevError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, links=links, ports=group_ports(links), source=source)


if __name__ == "__main__":
    main()
