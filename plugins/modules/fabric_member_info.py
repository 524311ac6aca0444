#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fabric_member_info
short_description: Read all that the plan of a fabric needs to know of a host
version_added: 0.1.0
description:
  - >-
    Reads what M(sparkops.dgx_spark.fabric_plan) needs of one host, in one call. This is its ConnectX-7 links, the IPv4
    networks in use, what other netplan files configure on these links, the machine at the other end of each cable, the
    files and firewall rules of the fabric as they are now, and the bandwidth that was measured.
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
  others:
    description: How many other hosts to look for. With V(0) no frames are sent.
    type: int
    default: 0
  timeout:
    description: How many seconds to look for them. It ends sooner once all are found.
    type: int
    default: 10
  netplan:
    description: The fabric's own netplan file, which is left out of RV(member.netplan_conflicts).
    type: path
    default: /etc/netplan/40-cx7.yaml
  files:
    description: Text files to read, whole. None of them may hold a secret.
    type: list
    elements: path
    default: []
  program:
    description: The rollback program that lies on the host during and after a change.
    type: path
    default: /var/lib/dgx-spark/fabric/fabric.py
  stamp:
    description: Where M(sparkops.dgx_spark.fabric_bandwidth) writes its figures.
    type: path
    default: /var/lib/dgx-spark/fabric/bandwidth.json
  firewall:
    description: >-
      With V(auto) the rules of ufw are read where ufw is enabled, with V(ufw) where ufw is installed, with V(none)
      never.
    type: str
    choices: [auto, ufw, none]
    default: none
  hotplug:
    description:
      - With V(off), the running containers are named where the hot-plug driver of the ConnectX-7 is on, since to switch
        it off the host has to be rebooted.
    type: str
    choices: [leave, "off"]
    default: leave
  hotplug_note:
    description: Where the role notes in which boot it moved the marker of the hot-plug driver away.
    type: path
    default: /var/lib/dgx-spark/fabric/hotplug.json
requirements:
  - netplan.io, and PyYAML, which it brings
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read the ports, networks and files of the fabric
  sparkops.dgx_spark.fabric_member_info:
    name: "{{ inventory_hostname }}"
    host: "{{ ansible_host }}"
    others: 1
  become: true
  register: found
"""

RETURN = r"""
member:
  description: What was read of the host.
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
      description: RV(sparkops.dgx_spark.ibdev2netdev_info#module:links).
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
    neighbors:
      description: The machines that answered at each cage, null where none were looked for.
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
    netplan_conflicts:
      description: >-
        What netplan files other than O(netplan), and profiles that NetworkManager keeps outside netplan, configure on
        the links, as netplan's own generator reads them.
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
        every_port:
          description: The name of the profile that does so, where it is one for each port there is; else null.
          type: str
          sample: any port
        renderer:
          description: Which renderer reads it, C(networkd) or C(NetworkManager).
          type: str
          sample: NetworkManager
        shared:
          description: Whether the file configures, or may configure, other ports too.
          type: bool
          sample: false
    netplan_renderers:
      description: The renderer that netplan gives each link's network device to, C(networkd) or C(NetworkManager).
      type: dict
      sample: {enp1s0f0np0: NetworkManager}
    netplan_problem:
      description: Why netplan refuses the files of this host, or that it is not there; empty where it takes them.
      type: str
      sample: ""
    arp:
      description: C(arp_ignore) and C(arp_announce) of each link's network device.
      type: dict
      sample: {enp1s0f0np0: [1, 2]}
    ifindex:
      description: The index of each link's network device. A card that is hot-added gets other ones.
      type: dict
      sample: {enp1s0f0np0: 3}
    hotplug:
      description: The driver by which newer DGX OS takes a ConnectX-7 without a live cable off the PCI bus.
      type: dict
      contains:
        marker:
          description: Whether C(/etc/nvidia/cx7-hotplug-enabled) is there, by which it is on after the next boot.
          type: bool
          sample: true
        enabled:
          description: Whether it is on now, null where there is no such driver.
          type: bool
          sample: true
        cable:
          description: Whether it sees a live cable, null where there is no such driver.
          type: bool
          sample: true
        noted_boot:
          description: RV(member.boot_id) of when this collection moved the marker away, null where it did not.
          type: str
        containers:
          description: The running containers that a reboot would end, as far as O(hotplug) makes them matter.
          type: list
          elements: str
          sample: []
    files:
      description: C(content), C(mode), C(uid) and C(gid) of each of O(files), null where there is none.
      type: dict
    program:
      description: SHA-256 of O(program), null where there is none.
      type: str
    rollback_pending:
      description: Whether the rollback timer of an earlier, interrupted change is still to come.
      type: bool
    firewall:
      description: The state of ufw.
      type: dict
      contains:
        installed:
          description: Whether there is ufw.
          type: bool
        enabled:
          description: Whether it is enabled.
          type: bool
        rules:
          description: Each rule as C(ufw show added) lists it, and its comment. Empty where they were not read.
          type: list
          elements: list
          sample: [[allow 22/tcp, ""]]
    tools:
      description: Which of the tools that measure bandwidth are installed, of C(ib_write_bw) and C(iperf3).
      type: list
      elements: str
      sample: [iperf3]
    boot_id:
      description: The kernel's own name for the time since it was started.
      type: str
    bandwidth:
      description: What M(sparkops.dgx_spark.fabric_bandwidth) wrote last (C(key), C(tool) and C(measured)), or null.
      type: dict
"""

import hashlib
import json
import re
import shutil
import traceback
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import running_containers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.hotplug import is_on, read_hotplug
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.ibdev2netdev import Ibdev2netdevError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.netplan_claims import (
    PROFILES,
    find_conflicts,
    placeholder,
    renderers,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.netplan_root import GENERATORS, PLACES, ask
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.ports import read_links
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.probe import probe
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.routes import (
    RoutesError,
    management_address,
    own_addresses,
    permanent_macs,
    used_networks,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ufw import (
    CONF,
    UfwError,
    is_enabled,
    parse,
    recall,
)

try:
    import yaml
except ImportError:
    YAML_ERROR: str | None = traceback.format_exc()
else:
    YAML_ERROR = None

UDEV = "/run/udev/data"
# The rollback timer and the unit that it starts are transient. The older name is that of version 0.1's first commits.
TRANSIENT = "/run/systemd/transient"
ROLLBACK_UNITS = ("dgx-spark-fabric-rollback.*", "dgx-spark-fabric-way-back.*")


def read(path: Path) -> str:
    """Return the text of a file, nothing where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def file_state(path: Path) -> dict[str, Any] | None:
    """Return a file's text, mode and owner, None where there is none."""
    if not path.is_file():
        return None
    found = path.stat()
    return {"content": read(path), "mode": f"{found.st_mode & 0o7777:04o}", "uid": found.st_uid, "gid": found.st_gid}


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a file, None where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def bandwidth(text: str) -> dict[str, Any] | None:
    """Return the figures of an earlier measurement, None where there are none."""
    try:
        found = json.loads(text)
        return {name: found[name] for name in ("key", "tool", "measured")}
    except (ValueError, KeyError, TypeError):
        return None


def arp(netdev: str) -> list[int]:
    """Return the ARP settings of a netdev."""
    root = Path("/proc/sys/net/ipv4/conf", netdev)
    return [int(read(root / name) or 0) for name in ("arp_ignore", "arp_announce")]


def ifindex(netdev: str) -> int:
    """Return the index of a netdev, 0 where it has just gone."""
    return int(read(Path("/sys/class/net", netdev, "ifindex")) or 0)


def hotplug(choice: str, note: Path) -> dict[str, Any]:
    """Return the state of the hot-plug driver, and the containers that a reboot to switch it off would end."""
    state: dict[str, Any] = {**read_hotplug(), "noted_boot": None, "containers": []}
    try:
        state["noted_boot"] = json.loads(read(note) or "{}").get("boot_id")
    except ValueError:
        state["noted_boot"] = None
    if choice == "off" and is_on(state):
        try:
            state["containers"] = running_containers(Docker().running())
        except DockerError:
            state["containers"] = []  # it does not run, so that there is nothing to end
    return state


def firewall(module: AnsibleModule, choice: str) -> dict[str, Any]:
    """Return the state of ufw, and its rules as far as the choice makes them matter."""
    tool = module.get_bin_path("ufw")
    state: dict[str, Any] = {"installed": tool is not None, "enabled": is_enabled(Path(CONF)), "rules": []}
    if tool and (choice == "ufw" or (choice == "auto" and state["enabled"])):
        environment = {"LANG": "C", "LC_ALL": "C"}
        _rc, out, _err = module.run_command([tool, "show", "added"], check_rc=True, environ_update=environment)
        state["rules"] = [list(line) for line in parse(recall(out))]
    return state


def documents() -> dict[str, Any]:
    """Return the content of each netplan file, to tell whose ID is whose. What they mean, netplan itself says."""
    files = {path.name: path for place in PLACES for path in Path(place).glob("*.yaml") if path.is_file()}
    found = {}
    for path in files.values():
        try:
            found[str(path)] = yaml.safe_load(read(path))
        except (yaml.YAMLError, ValueError, RecursionError):
            continue
    return found


def noted(netdev: str, name: str) -> str | None:
    """Return what udev noted of a netdev, None where it did not."""
    lines = read(Path(UDEV, f"n{ifindex(netdev)}")).splitlines()
    return next((line.partition("=")[2] for line in lines if line.startswith(f"E:{name}=")), None)


def driver(netdev: str) -> str | None:
    """Return the driver that netplan's ``match`` means: the device's, else the one that udev noted, else None."""
    bound = Path("/sys/class/net", netdev, "device", "driver")
    return bound.resolve().name if bound.exists() else noted(netdev, "ID_NET_DRIVER")


def pci_path(device: Path) -> str | None:
    """Return what udev would note as the path of a device on a PCI bus, None where it would name more than that bus."""
    on_bus = re.fullmatch(
        r"/sys/devices/pci[0-9a-f]+:[0-9a-f]+/(?:.*/)?([0-9a-f]+(?::[0-9a-f]{2}){2}\.[0-7])", str(device)
    )
    return f"pci-{on_bus[1]}" if on_bus else None


def netplan(module: AnsibleModule, own: str, links: list[dict[str, Any]], permanent: dict[str, str]) -> dict[str, Any]:
    """Return what netplan and NetworkManager make of the files of others on these links."""
    names = [link["netdev"] for link in links]
    about = [
        {
            "netdev": link["netdev"],
            "mac": permanent.get(link["netdev"], link["mac"]),
            "driver": driver(link["netdev"]),
            "path": noted(link["netdev"], "ID_PATH")
            or pci_path(Path("/sys/class/net", link["netdev"], "device").resolve()),
        }
        for link in links
    ]
    answer: dict[str, Any] = {"netplan_conflicts": [], "netplan_renderers": {}, "netplan_problem": ""}
    if not links:
        return answer
    try:
        said = ask(module, Path(own), json.dumps(placeholder(names)) + "\n", PLACES, GENERATORS)
    except FileNotFoundError as exc:
        return {**answer, "netplan_problem": str(exc)}
    if said.problem:
        problem = (
            f"netplan refuses the files of this host, with {own} as it will be: {said.problem}; mend the file it names"
        )
        return {**answer, "netplan_problem": f"{problem} (try 'sudo netplan generate')"}
    if not said.files:
        problem = f"netplan's generator writes nothing for {names[0]}, neither for networkd nor for NetworkManager"
        return {**answer, "netplan_problem": f"{problem}; see 'netplan info' and 'sudo netplan generate'"}
    profiles = {str(path): read(path) for path in Path(PROFILES).glob("*.nmconnection") if path.is_file()}
    return {
        "netplan_conflicts": find_conflicts({**said.files, **profiles}, documents(), own, about),
        "netplan_renderers": renderers(said.files, names),
        "netplan_problem": "",
    }


def member(module: AnsibleModule) -> dict[str, Any]:
    """Return all that is read of the host."""
    wanted = module.params
    links, _source = read_links(module)
    named = [link for link in links if link["netdev"]]
    netdevs = [link["netdev"] for link in named]
    ip = module.get_bin_path("ip", required=True)
    _rc, addr, _err = module.run_command([ip, "-j", "-4", "addr"], check_rc=True)
    _rc, route, _err = module.run_command([ip, "-j", "-4", "route", "show", "table", "all"], check_rc=True)
    _rc, shown, _err = module.run_command([ip, "-j", "link"], check_rc=True)
    return {
        "name": wanted["name"],
        "host": wanted["host"],
        "links": links,
        "networks": used_networks(addr, route),
        "addresses": own_addresses(addr),
        "management_address": management_address(addr, route),
        **netplan(module, wanted["netplan"], named, permanent_macs(shown)),
        "arp": {netdev: arp(netdev) for netdev in netdevs},
        "ifindex": {netdev: ifindex(netdev) for netdev in netdevs},
        "hotplug": hotplug(wanted["hotplug"], Path(wanted["hotplug_note"])),
        "files": {path: file_state(Path(path)) for path in wanted["files"]},
        "program": digest(Path(wanted["program"])),
        "rollback_pending": any(any(Path(TRANSIENT).glob(pattern)) for pattern in ROLLBACK_UNITS),
        "firewall": firewall(module, wanted["firewall"]),
        "tools": [tool for tool in ("ib_write_bw", "iperf3") if shutil.which(tool)],
        "boot_id": read(Path("/proc/sys/kernel/random/boot_id")).strip(),
        "bandwidth": bandwidth(read(Path(wanted["stamp"]))),
        "neighbors": probe(links, wanted["others"], wanted["timeout"]) if wanted["others"] else None,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "others": {"type": "int", "default": 0},
            "timeout": {"type": "int", "default": 10},
            "netplan": {"type": "path", "default": "/etc/netplan/40-cx7.yaml"},
            "files": {"type": "list", "elements": "path", "default": []},
            "program": {"type": "path", "default": "/var/lib/dgx-spark/fabric/fabric.py"},
            "stamp": {"type": "path", "default": "/var/lib/dgx-spark/fabric/bandwidth.json"},
            "firewall": {"type": "str", "choices": ["auto", "ufw", "none"], "default": "none"},
            "hotplug": {"type": "str", "choices": ["leave", "off"], "default": "leave"},
            "hotplug_note": {"type": "path", "default": "/var/lib/dgx-spark/fabric/hotplug.json"},
        },
        supports_check_mode=True,
    )
    if YAML_ERROR:  # netplan itself needs it
        module.fail_json(msg=missing_required_lib("PyYAML"), exception=YAML_ERROR)
    try:
        module.exit_json(changed=False, member=member(module))
    except PermissionError as exc:
        module.fail_json(msg=f"{exc} (are you root? Set become)")
    except (DockerError, Ibdev2netdevError, RoutesError, UfwError) as exc:
        module.fail_json(msg=str(exc))
    except OSError as exc:
        module.fail_json(
            msg=f"{exc.filename or 'a file'} cannot be read ({exc.strerror or exc}): see what is in its place. Nothing "
            "was changed."
        )


if __name__ == "__main__":
    main()
