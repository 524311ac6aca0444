#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_gpu_info
short_description: Read a host's place in a Docker Swarm, and what Docker advertises there
version_added: 0.1.0
description:
  - Reads in one call all that the role C(swarm_gpu) plans with.
  - Fails where the host has no GPU that answers, or no Docker Engine that does.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.docker
options:
  wanted:
    description: >-
      What the role is asked for on this host. It is returned as it is, so that one plan knows the options of all hosts.
    type: dict
    required: true
    suboptions:
      kind:
        description: The kind of generic resource that a GPU is.
        type: str
        default: gpu
      advertise_address:
        description: The address, or a name for it, at which the other members reach this host.
        type: str
        required: true
      address_later:
        description: Whether another role of the same run gives that address.
        type: bool
        default: false
      address_pool:
        description: The pool of the swarm's own networks.
        type: str
        default: ""
      allow_rejoin:
        description: Whether the host may leave another swarm.
        type: bool
        default: false
      allow_restart:
        description: Whether Docker may be restarted under running containers.
        type: bool
        default: false
      firewall:
        description: Whether ufw is written to, as M(sparkops.dgx_spark.ufw_rules) has it.
        type: str
        choices: [auto, ufw, none]
        default: auto
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read Docker Swarm
  sparkops.dgx_spark.swarm_gpu_info:
    wanted: {advertise_address: 192.168.1.21}
  become: true
  register: found
"""

RETURN = r"""
gpus:
  description: The GPUs, as M(sparkops.dgx_spark.gpu_info) returns them.
  returned: success
  type: list
  elements: dict
  sample: [{uuid: GPU-e793e0a4-fd41-dcd8-a833-3127370a6779}]
toolkit:
  description: The toolkit's C(version), null where it is missing, its C(mode) and its C(swarm_resource).
  returned: success
  type: dict
  sample: {version: 1.19.0, mode: auto, swarm_resource: DOCKER_RESOURCE_GPU}
daemon:
  description: The C(path) of C(daemon.json), links resolved, and its C(text), empty where there is no file.
  returned: success
  type: dict
  sample: {path: /etc/docker/daemon.json, text: ""}
engine:
  description: >-
    What the engine runs with (C(info)), and its running C(containers); the C(flags) of dockerd, by the keys of
    C(daemon.json), and whether its file was C(replaced) since it started, both null where no dockerd is seen.
  returned: success
  type: dict
  sample: {info: {DefaultRuntime: nvidia}, containers: []}
image:
  description: >-
    ID of the image for the check of Swarm's tasks, null where it is missing or made of files that have changed since.
  returned: success
  type: str
  sample: sha256:0d6f1b9c…
swarm:
  description: >-
    The C(place) of the engine in a swarm, or why that is unknown (C(problem)); C(nodes), C(services) and the
    swarm's own C(networks), known to managers alone.
  returned: success
  type: dict
  sample: {place: {active: false}, problem: "", nodes: [], services: [], networks: []}
host:
  description: >-
    Its C(hostname), whether that C(resolves), its C(clock), its C(routes), its C(address), and what has that
    (C(advertised)). This is the C(netdev), null where none has it yet, whether the address is C(dynamic), as by DHCP,
    and what the netdev is C(of), V(docker), V(fabric) (a ConnectX-7) or neither.
  returned: success
  type: dict
  sample:
    hostname: spark1
    resolves: true
    clock: 1795272000.0
    routes: []
    address: 192.168.1.21
    advertised: {netdev: enP7s7, dynamic: true, of: ""}
ufw:
  description: Whether ufw is C(installed) and C(enabled), and its C(rules), as C(ufw show added) lists them.
  returned: success
  type: dict
  sample: {installed: true, enabled: false, rules: ""}
wanted:
  description: O(wanted), with its defaults.
  returned: success
  type: dict
  sample: {kind: gpu}
"""

import re
import socket
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    SOCKET_OPTION,
    Docker,
    DockerError,
    reads_answers,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import DaemonJsonError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.gpu_probe import SWARM_NAME, GpuProbeError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.host_facts import (
    current_image,
    output,
    read_daemon_json,
    read_engine,
    read_gpus,
    read_toolkit,
    root_archive,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm import (
    Membership,
    SwarmError,
    overlays,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm_host import (
    ROUTES,
    membership_of,
    own_address,
    recorded,
    resolves,
    settled_info,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.toolkit_config import ToolkitConfigError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.ibdev2netdev import read_sysfs
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.nvidia_smi import NvidiaSmiError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.routes import (
    RoutesError,
    netdev_of,
    read_routes,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ufw import (
    CONF,
    UfwError,
    is_enabled,
    recall,
)

# docker0, docker_gwbridge, and the bridges of Docker's other networks
DOCKER_NETDEV = re.compile(r"docker|br-[0-9a-f]{12}$")
MEANT_FOR_PEOPLE = (
    DaemonJsonError,
    DockerError,
    FileError,
    GpuProbeError,
    NvidiaSmiError,
    RoutesError,
    SwarmError,
    ToolkitConfigError,
    UfwError,
)
WANTED = {
    "kind": {"type": "str", "default": "gpu"},
    "advertise_address": {"type": "str", "required": True},
    "address_later": {"type": "bool", "default": False},
    "address_pool": {"type": "str", "default": ""},
    "allow_rejoin": {"type": "bool", "default": False},
    "allow_restart": {"type": "bool", "default": False},
    "firewall": {"type": "str", "choices": ["auto", "ufw", "none"], "default": "auto"},
}


@reads_answers
def read_swarm(docker: Docker, info: dict[str, Any]) -> dict[str, Any]:
    """Return the engine's place in a swarm, and of a manager's swarm what only managers know."""
    try:
        place, problem = membership_of(info, recorded()), ""
    except SwarmError as error:
        place, problem = Membership(), str(error)
    manages = place.manager and not place.pending
    return {
        "place": asdict(place),
        "problem": problem,
        "nodes": [node_of(node) for node in docker.ask("GET", "/nodes")] if manages else [],
        "services": sorted(one["Spec"]["Name"] for one in docker.ask("GET", "/services")) if manages else [],
        "networks": overlays(docker.ask("GET", "/networks")) if manages else [],
    }


def node_of(node: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a node that a plan is made of."""
    told = node.get("Description") or {}
    return {
        "ID": node["ID"],
        "Spec": {key: node["Spec"].get(key) for key in ("Labels", "Availability", "Role")},
        "Status": {key: node["Status"].get(key) for key in ("State", "Message", "Addr")},
        "ManagerStatus": {"Addr": (node.get("ManagerStatus") or {}).get("Addr", "")},
        "Description": {
            "Hostname": told.get("Hostname", ""),
            "Resources": {"GenericResources": (told.get("Resources") or {}).get("GenericResources") or []},
        },
    }


def read_advertised(module: AnsibleModule, address: str) -> dict[str, Any]:
    """Return what has the address, and whether it may lose it."""
    ip = module.get_bin_path("ip", required=True)
    _rc, addr, _err = module.run_command([ip, "-j", "-4", "addr"], check_rc=True)
    netdev, dynamic = netdev_of(addr, address)
    of = ""
    if netdev and DOCKER_NETDEV.match(netdev):
        of = "docker"
    elif netdev and netdev in [port.netdev for port in read_sysfs("/sys")]:
        of = "fabric"
    return {"netdev": netdev, "dynamic": dynamic, "of": of}


def read_host(module: AnsibleModule, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the host's name, clock, networks and the address that it is to advertise."""
    hostname = socket.gethostname()
    routes = read_routes(ROUTES)
    address = own_address(wanted["advertise_address"], later=wanted["address_later"])
    return {
        "hostname": hostname,
        "resolves": resolves(hostname),
        "routes": [[str(network), interface] for network, interface in routes],
        "address": address,
        "advertised": read_advertised(module, address),
        "clock": time.time(),
    }


def read_ufw(module: AnsibleModule, firewall: str) -> dict[str, Any]:
    """Return the state of ufw; its rules only where they may be written."""
    active = is_enabled(Path(CONF))
    present = module.get_bin_path("ufw", opt_dirs=["/usr/sbin"]) is not None
    concerned = present and (firewall == "ufw" or (firewall == "auto" and active))
    rules = recall(output(module, "ufw", "show", "added")) if concerned else ""
    return {"installed": present, "enabled": active, "rules": rules}


def read(module: AnsibleModule) -> dict[str, Any]:
    """Read all of it."""
    wanted, docker = module.params["wanted"], Docker(module.params["docker_socket"])
    info = settled_info(docker)
    return {
        "gpus": read_gpus(module),
        "toolkit": read_toolkit(module),
        "daemon": read_daemon_json(),
        "engine": read_engine(docker, info),
        "image": current_image(docker, SWARM_NAME, root_archive(module)),
        "swarm": read_swarm(docker, info),
        "ufw": read_ufw(module, wanted["firewall"]),
        "host": read_host(module, wanted),
        "wanted": wanted,
    }


def main() -> None:
    """Run the module."""
    wanted = {"type": "dict", "required": True, "options": WANTED}
    module = AnsibleModule(argument_spec={"wanted": wanted, **SOCKET_OPTION}, supports_check_mode=True)
    module.run_command_environ_update = {"LANGUAGE": "C", "LC_ALL": "C"}
    try:
        found = read(module)
    except MEANT_FOR_PEOPLE as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
