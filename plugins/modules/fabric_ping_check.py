#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fabric_ping_check
short_description: Check the links of a fabric
version_added: 0.1.0
description:
  - >-
    Pings the peer of each planned link with packets of exactly the MTU that may not fragment, out of the planned
    network device.
  - >-
    The planned half must be the one that answers, by its hardware address; the link must run at the speed wanted; and
    the RDMA device must have a RoCE v2 entry for the address in its GID table, and the device node C(uverbs) that the
    kernel says.
  - Waits until all of that is so. A link where it is not is a failure that names it, the reason and the mend.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  host:
    description: The host's name, for messages.
    type: str
    required: true
  links:
    description: The host's part of the plan, RV(sparkops.dgx_spark.fabric_plan#module:hosts.links).
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
        description: Name of the RDMA device. Its GID table is not looked at if not given.
        type: str
      port:
        description: Port number within the RDMA device.
        type: int
        default: 1
      peer_mac:
        description: Hardware address of the half that must answer. Any will do if not given.
        type: str
      peer_netdev:
        description: Name of the network device there. Not used.
        type: str
      network:
        description: Network of the link. Not used.
        type: str
  mtu:
    description: Size of the packets in bytes, IPv4 and ICMP headers included.
    type: int
    default: 9000
  speed_mbps:
    description: Speed in Mbit/s that each link must have negotiated. V(0) waives it.
    type: int
    default: 0
  timeout:
    description: How many seconds to wait for all links.
    type: int
    default: 30
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Check that every link carries jumbo frames
  sparkops.dgx_spark.fabric_ping_check:
    host: "{{ inventory_hostname }}"
    links: "{{ fabric.hosts[inventory_hostname].links }}"
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
    mac:
      description: Hardware address of the half that answered.
      type: str
      sample: 3c:6d:66:cc:b3:b7
    speed_mbps:
      description: Negotiated speed in Mbit/s, null if unknown.
      type: int
      sample: 200000
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
from typing import Any, Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric import verbs
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.ping import (
    HEADERS,
    explain,
    link_problems,
    neighbor_mac,
    parse_rtt,
    ping_command,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.child import run_together

LOCALE = {"LANGUAGE": "C", "LC_ALL": "C"}


def number(netdev: str, attribute: str) -> int | None:
    """Return an attribute of the network device; one that is administratively down has neither carrier nor speed."""
    try:
        return int(Path("/sys/class/net", netdev, attribute).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def gid_table(device: str | None, port: int) -> list[tuple[str, str]] | None:
    """Return GIDs and their types, None where there is no such RDMA device."""
    root = Path("/sys/class/infiniband", device or "(none)", "ports", str(port))
    if not root.is_dir():
        return None
    table = []
    for gid in sorted((root / "gids").iterdir(), key=lambda path: int(path.name)):
        try:
            table.append((gid.read_text().strip(), (root / "gid_attrs" / "types" / gid.name).read_text().strip()))
        except OSError:  # an empty entry has no type
            continue
    return table


def why_unusable(device: str) -> str:
    """Return why programs cannot use an RDMA device, empty where they can."""
    found = verbs.condition([device]).words
    if found or (verbs.DEV / "infiniband" / "rdma_cm").exists():
        return found
    return "/dev/infiniband/rdma_cm is not there"


class Checker:
    """Checks the links."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.host, self.mtu, self.speed = (module.params[name] for name in ("host", "mtu", "speed_mbps"))
        self.ping = module.get_bin_path("ping", required=True)
        self.ip = module.get_bin_path("ip", required=True)

    def _answers(self, links: Sequence[dict[str, Any]], size: int) -> list[tuple[dict[str, float] | None, str]]:
        """The times of each link, None where nothing came back, and what ping said. All are pinged at the same time."""
        said = run_together([ping_command(self.ping, link, size) for link in links], LOCALE)
        return [(parse_rtt(out) if rc == 0 else None, out) for rc, out in said]

    def check(self, links: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any] | None, list[str]]]:
        """For each link, what was measured, and its problems."""
        answers = self._answers(links, self.mtu - HEADERS)
        return [self._check(link, *answer) for link, answer in zip(links, answers)]

    def _check(
        self, link: dict[str, Any], times: dict[str, float] | None, output: str
    ) -> tuple[dict[str, Any] | None, list[str]]:
        netdev = link["netdev"]
        if times is None:
            passes = self._answers([link], 56)[0][0] is not None
            carrier, own_mtu = number(netdev, "carrier") == 1, number(netdev, "mtu")
            return None, [explain(self.host, link, self.mtu, output, carrier, passes, own_mtu)]
        _rc, neigh, _err = self.module.run_command(
            [self.ip, "-j", "neigh", "show", "to", link["peer_address"], "dev", netdev]
        )
        mac, speed = neighbor_mac(neigh), number(netdev, "speed")
        gids = gid_table(link["rdma_device"], link["port"])
        unusable = why_unusable(link["rdma_device"]) if gids is not None else ""
        problems = link_problems(self.host, link, mac, speed, self.speed, gids, unusable)
        ends = {name: link[name] for name in ("netdev", "peer", "peer_address")}
        return {**ends, **times, "mac": mac, "speed_mbps": speed if speed and speed > 0 else None}, problems


def main() -> None:
    """Run the module."""
    needed = {name: {"type": "str", "required": True} for name in ("netdev", "half", "address", "peer", "peer_address")}
    numbers = {name: {"type": "int", "required": True} for name in ("physical_port", "peer_physical_port")}
    more = {name: {"type": "str"} for name in ("rdma_device", "peer_mac", "peer_netdev", "network")}
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "links": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {**needed, **numbers, **more, "port": {"type": "int", "default": 1}},
            },
            "mtu": {"type": "int", "default": 9000},
            "speed_mbps": {"type": "int", "default": 0},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = LOCALE
    checker, links = Checker(module), module.params["links"]
    deadline = time.monotonic() + module.params["timeout"]
    measured: dict[int, dict[str, Any] | None] = {}
    problems: dict[int, list[str]] = {index: [] for index in range(len(links))}
    while True:
        open_ones = [index for index in range(len(links)) if index not in measured or problems[index]]
        for index, found in zip(open_ones, checker.check([links[index] for index in open_ones])):
            measured[index], problems[index] = found
        if not any(problems.values()) or time.monotonic() >= deadline:
            break
        time.sleep(1)
    answers = [measured[index] for index in sorted(measured) if measured[index]]
    if any(problems.values()):
        words = "; ".join(problem for index in sorted(problems) for problem in problems[index])
        module.fail_json(msg=f"The fabric does not work: {words}", answers=answers, mtu=module.params["mtu"])
    module.exit_json(changed=False, answers=answers, mtu=module.params["mtu"])


if __name__ == "__main__":
    main()
