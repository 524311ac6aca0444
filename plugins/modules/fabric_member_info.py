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
    Puts together what M(sparkops.dgx_spark.fabric_plan_info) needs of one host: its name, its ConnectX-7 links, the
    IPv4 networks that its addresses and routes use, so that the fabric stays clear of them, what other netplan files
    say of these links, and who is at the other end of each cable.
  - >-
    The other ends are found by broadcast frames of EtherType 0x88B5 on each link that has a signal. All hosts must be
    asked at the same time, so O(others) needs at least as many forks as there are hosts.
  - Needs root, for the files and for the frames.
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
  others:
    description: How many other hosts to listen for. V(0) sends and hears nothing.
    type: int
    default: 0
  timeout:
    description: How many seconds to listen for them. It ends sooner once all are known.
    type: int
    default: 10
  netplan:
    description: The fabric's own netplan file, which is left out of RV(member.claims).
    type: path
    default: /etc/netplan/40-cx7.yaml
  files:
    description: Files to tell the SHA-256 of.
    type: list
    elements: path
    default: []
  stamp:
    description: Where M(sparkops.dgx_spark.fabric_bandwidth) notes its figures.
    type: path
    default: /var/lib/dgx-spark/fabric/proven.json
requirements:
  - PyYAML, which netplan brings
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
    others: 1
  become: true
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
    heard:
      description: Who answered at which cage; null where nobody was listened for.
      type: list
      elements: dict
      contains:
        physical_port:
          description: Number of the cage here.
          type: int
          sample: 0
        id:
          description: The lowest hardware address of the other machine's ConnectX-7.
          type: str
          sample: 3c:6d:66:cc:b3:b7
        cage:
          description: Number of the cage there.
          type: int
          sample: 0
    claims:
      description: What netplan files other than O(netplan) say of the links that would not leave them to the fabric.
      type: list
      elements: dict
      contains:
        path:
          description: The file.
          type: str
          sample: /etc/netplan/99-nvidia-sync-cluster.yaml
        netdev:
          description: The network device.
          type: str
          sample: enp1s0f0np0
        sets:
          description: What it sets, in words.
          type: list
          elements: str
          sample: [address 10.100.32.1/24]
        addresses:
          description: The addresses that it gives.
          type: list
          elements: str
          sample: [10.100.32.1/24]
        mtu:
          description: The MTU that it sets, null if none, or where the fabric's own file has the last word.
          type: int
          sample: 9000
    arp:
      description: C(arp_ignore) and C(arp_announce) of each link's network device.
      type: dict
      sample: {enp1s0f0np0: [1, 2]}
    files:
      description: SHA-256 of each of O(files), null where there is none.
      type: dict
    tools:
      description: >-
        Which of the tools that measure bandwidth could be used: C(iperf3), and C(ib_write_bw) where there are RDMA
        devices.
      type: list
      elements: str
      sample: [iperf3]
    boot_id:
      description: The kernel's own name for the time since it was started.
      type: str
    proven:
      description: The key under which M(sparkops.dgx_spark.fabric_bandwidth) noted its figures, null if it did not.
      type: str
"""

import hashlib
import json
import shutil
import traceback
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.netplan import PLACES, find_claims
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.networks import (
    NetworksError,
    management_address,
    own_addresses,
    used_networks,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.probe import probe

try:
    import yaml
except ImportError:
    YAML_ERROR: str | None = traceback.format_exc()
else:
    YAML_ERROR = None


def read(path: Path) -> str:
    """Return the text of a file, nothing where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def tools() -> list[str]:
    """Return the tools that could measure bandwidth here."""
    rdma = Path("/dev/infiniband/rdma_cm").exists()
    return [tool for tool in ("ib_write_bw", "iperf3") if shutil.which(tool) and (rdma or tool == "iperf3")]


def stamped(text: str) -> str | None:
    """Return the key of a measurement that was noted."""
    try:
        return json.loads(text)["key"]
    except (ValueError, KeyError, TypeError):
        return None


def arp(netdev: str) -> list[int]:
    """Return whom a network device answers for, and as whom it asks."""
    root = Path("/proc/sys/net/ipv4/conf", netdev)
    return [int(read(root / name) or 0) for name in ("arp_ignore", "arp_announce")]


def documents() -> dict[str, t.Any]:
    """Return the content of each netplan file that netplan would read; one that is no YAML is left to netplan."""
    files = {path.name: path for place in PLACES for path in Path(place).glob("*.yaml")}
    found = {}
    for path in files.values():
        try:
            found[str(path)] = yaml.safe_load(read(path))
        except yaml.YAMLError:
            continue
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "links": {"type": "list", "elements": "dict", "required": True},
            "others": {"type": "int", "default": 0},
            "timeout": {"type": "int", "default": 10},
            "netplan": {"type": "path", "default": "/etc/netplan/40-cx7.yaml"},
            "files": {"type": "list", "elements": "path", "default": []},
            "stamp": {"type": "path", "default": "/var/lib/dgx-spark/fabric/proven.json"},
        },
        supports_check_mode=True,
    )
    if YAML_ERROR:  # netplan itself needs it
        module.fail_json(msg=missing_required_lib("PyYAML"), exception=YAML_ERROR)
    wanted, links = module.params, module.params["links"]
    ip = module.get_bin_path("ip", required=True)
    _rc, addr, _err = module.run_command([ip, "-j", "-4", "addr"], check_rc=True)
    _rc, route, _err = module.run_command([ip, "-j", "-4", "route", "show", "table", "all"], check_rc=True)
    try:
        member = {
            **{name: wanted[name] for name in ("name", "host", "links")},
            "networks": used_networks(addr, route),
            "addresses": own_addresses(addr),
            "management_address": management_address(addr, route),
            "claims": find_claims(documents(), wanted["netplan"], [link for link in links if link["netdev"]]),
            "arp": {link["netdev"]: arp(link["netdev"]) for link in links if link["netdev"]},
            "files": {path: digest(Path(path)) for path in wanted["files"]},
            "tools": tools(),
            "boot_id": read(Path("/proc/sys/kernel/random/boot_id")).strip(),
            "proven": stamped(read(Path(wanted["stamp"]))),
            "heard": probe(links, wanted["others"], wanted["timeout"]) if wanted["others"] else None,
        }
    except (NetworksError, PermissionError) as exc:
        module.fail_json(msg=f"{exc} (are you root? Set become)" if isinstance(exc, PermissionError) else str(exc))
    module.exit_json(changed=False, member=member)


if __name__ == "__main__":
    main()
