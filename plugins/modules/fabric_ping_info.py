#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fabric_ping_info
short_description: Prove the links of a fabric by pings that may not fragment
version_added: "0.1.0"
description:
  - Pings the peer of each planned link with packets of exactly the MTU, out of the planned network device.
  - Waits until all links answer. One that stays silent is a failure that names it, the reason and the mend.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  host:
    description: The host's name, for messages.
    type: str
    required: true
  links:
    description: The host's part of the plan, RV(sparkops.dgx_spark.fabric_plan_info#module:plan.hosts.links).
    type: list
    elements: dict
    required: true
    suboptions:
      netdev:
        description: Name of the network device.
        type: str
        required: true
      physical_port:
        description: Number of the QSFP cage.
        type: int
        required: true
      half:
        description: Half of the cage.
        type: str
        required: true
      address:
        description: Address of the network device, with prefix length.
        type: str
        required: true
      peer:
        description: Name of the host at the other end.
        type: str
        required: true
      peer_address:
        description: Its address.
        type: str
        required: true
      peer_physical_port:
        description: Number of the cage there.
        type: int
        required: true
      rdma_device:
        description: Name of the RDMA device. Not used.
        type: str
      port:
        description: Port number within the RDMA device. Not used.
        type: int
  mtu:
    description: Size of the packets in bytes, IPv4 and ICMP headers included.
    type: int
    default: 9000
  timeout:
    description: How many seconds to wait for all links.
    type: int
    default: 30
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Every link carries jumbo frames
  sparkops.dgx_spark.fabric_ping_info:
    host: "{{ inventory_hostname }}"
    links: "{{ planned.plan.hosts[inventory_hostname].links }}"
"""

RETURN = r"""
mtu:
  description: Size of the packets that passed.
  returned: success
  type: int
  sample: 9000
answers:
  description: One entry for each link, in the order given.
  returned: success
  type: list
  elements: dict
  contains:
    netdev:
      description: Name of the network device.
      type: str
      sample: enp1s0f0np0
    peer:
      description: Name of the host that answered.
      type: str
      sample: spark2
    peer_address:
      description: Its address.
      type: str
      sample: 192.168.100.11
    min_ms:
      description: Shortest round-trip time in milliseconds.
      type: float
      sample: 0.045
    avg_ms:
      description: Average round-trip time in milliseconds.
      type: float
      sample: 0.05
    max_ms:
      description: Longest round-trip time in milliseconds.
      type: float
      sample: 0.058
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric_ping import (
    HEADERS,
    explain,
    parse_rtt,
    ping_command,
)


def carrier(netdev: str) -> bool:
    """Whether the network device has a signal; one that is administratively down has none to read."""
    try:
        return Path("/sys/class/net", netdev, "carrier").read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False


def main() -> None:
    """Run the module."""
    needed = {name: {"type": "str", "required": True} for name in ("netdev", "half", "address", "peer", "peer_address")}
    numbers = {name: {"type": "int", "required": True} for name in ("physical_port", "peer_physical_port")}
    unused = {"rdma_device": {"type": "str"}, "port": {"type": "int"}}
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "links": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {**needed, **numbers, **unused},
            },
            "mtu": {"type": "int", "default": 9000},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LANGUAGE": "C", "LC_ALL": "C"}
    ping = module.get_bin_path("ping", required=True)
    host, links, mtu = (module.params[name] for name in ("host", "links", "mtu"))
    deadline = time.monotonic() + module.params["timeout"]

    def answer(link: dict, size: int) -> tuple[dict[str, float] | None, str]:
        rc, out, err = module.run_command(ping_command(ping, link, size))
        return (parse_rtt(out) if rc == 0 else None), out + err

    said: dict[int, str] = {}
    times: dict[int, dict[str, float]] = {}
    while True:
        for index, link in enumerate(links):
            if index not in times:
                found, said[index] = answer(link, mtu - HEADERS)
                if found:
                    times[index] = found
        if len(times) == len(links) or time.monotonic() >= deadline:
            break
        time.sleep(1)
    faults = [
        explain(host, link, mtu, said[index], carrier(link["netdev"]), small_passes=answer(link, 56)[0] is not None)
        for index, link in enumerate(links)
        if index not in times
    ]
    answers = [
        {**{name: link[name] for name in ("netdev", "peer", "peer_address")}, **times[index]}
        for index, link in enumerate(links)
        if index in times
    ]
    if faults:
        module.fail_json(msg="The fabric does not work: " + "; ".join(faults), answers=answers, mtu=mtu)
    module.exit_json(changed=False, answers=answers, mtu=mtu)


if __name__ == "__main__":
    main()
