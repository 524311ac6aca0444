#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: virtual_spark_info
short_description: Plan a lab of virtual Sparks, and look at the machine that is to hold it
version_added: 0.1.0
description:
  - Computes names, addresses, GPU UUIDs, MAC addresses and cables of a lab of virtual Sparks.
  - Refuses a lab that cannot be built on the machine that it runs on, after a look at its routes.
  - Nothing is created. The role P(sparkops.virtual_spark.virtual_spark#role) builds what this module returns.
attributes:
  check_mode:
    description: Can run in C(check_mode) and tell whether it would change something, without changing it.
    support: full
    details: This module changes nothing.
  diff_mode:
    description: Tells in diff mode what changed, or would change in C(check_mode).
    support: N/A
    details: This module changes nothing.
  idempotent:
    description: Run a second time with the same arguments, outside C(check_mode), it changes nothing.
    support: full
    details: This module changes nothing.
author:
  - sparkops contributors (@sparkops)
options:
  lab:
    description:
      - The lab's name. It prefixes and labels everything that the lab makes.
      - When empty, nothing is planned, and RV(plan) is not returned.
    type: str
    default: ""
  count:
    description: How many virtual Sparks, V(1) to V(8).
    type: int
    default: 2
  cabling:
    description:
      - Which QSFP cables there are.
      - V(auto) means V(none) for one Spark, V(direct) for two, V(ring) for three and V(switch) for more.
    type: str
    choices: [auto, none, direct, direct_port1, crossed, two_cables, ring, switch]
    default: auto
  cables:
    description:
      - The cables one by one, instead of O(cabling).
      - Each is a list of two ends, C(sparkN:CAGE) or C(switch).
    type: list
    elements: list
    default: []
  subnet:
    description:
      - The management network, a private IPv4 network of /27 or larger.
      - When empty, a /24 of 10.203.0.0/16 that follows from the name of the lab.
    type: str
    default: ""
  base_image:
    description: The image to build on; RV(machine.registry_answers) tells whether its registry can be reached.
    type: str
    default: docker.io/library/debian:trixie-slim
  contexts:
    description: Lists of files and directories, by name, whose content to compute a digest of.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Plan three Sparks in a ring
  sparkops.virtual_spark.virtual_spark_info:
    lab: ring
    count: 3
    cabling: ring
  register: planned
"""

RETURN = r"""
plan:
  description: What the lab will hold.
  returned: if O(lab) is given
  type: dict
  contains:
    lab:
      description: The lab's name.
      type: str
    label:
      description: The label, C(key=value), on everything that the lab makes.
      type: str
    network:
      description: The management network, with C(name), C(bridge), C(subnet) and C(gateway).
      type: dict
    internet:
      description: The host that stands for the internet, with C(container), C(address) and the C(names) it answers to.
      type: dict
    cabling:
      description: The container that holds the cables, with C(container).
      type: dict
    sparks:
      description: The virtual Sparks, each with C(name), C(container), C(address), C(gpu_uuid) and C(nics).
      type: list
      elements: dict
    cables:
      description: The cables, each with C(name) and its two C(ends).
      type: list
      elements: dict
machine:
  description: What the machine offers.
  returned: success
  type: dict
  contains:
    docker_answers:
      description: Whether a Docker Engine listens on its usual socket.
      type: bool
    docker_installed:
      description: Whether there is a Docker Engine to start.
      type: bool
    registry_answers:
      description: Whether the registry of O(base_image) can be reached.
      type: bool
    systemd:
      description: Whether systemd manages the machine's services.
      type: bool
    cgroupns:
      description: The cgroup namespace that a systemd container needs here, V(host) on cgroup v1 and V(private) on v2.
      type: str
    cgroup_volumes:
      description: The volumes that it needs for its cgroups.
      type: list
      elements: str
    systemd_cmdline:
      description: The kernel command line that its systemd is to see.
      type: str
    cap_drop:
      description: The capabilities to take from it, because the machine has none to give or shares what they govern.
      type: list
      elements: str
digests:
  description: The first 12 hex digits of the SHA-256 over each list of O(contexts).
  returned: success
  type: dict
"""

import os
import shutil
import socket
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.routes import parse_routes
from ansible_collections.sparkops.virtual_spark.plugins.module_utils._virtual_spark import (
    CABLINGS,
    container_needs,
    plan,
    registry_of,
    tree_digest,
)


def docker_answers() -> bool:
    """Whether somebody listens on Docker's socket; one that we may not open listens too."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect("/var/run/docker.sock")
        except PermissionError:
            return True
        except OSError:
            return False
    return True


def reachable(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "lab": {"type": "str", "default": ""},
            "count": {"type": "int", "default": 2},
            "cabling": {"type": "str", "choices": list(CABLINGS), "default": "auto"},
            "cables": {"type": "list", "elements": "list", "default": []},
            "subnet": {"type": "str", "default": ""},
            "base_image": {"type": "str", "default": "docker.io/library/debian:trixie-slim"},
            "contexts": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    options = {name: module.params[name] for name in ("lab", "count", "cabling", "cables", "subnet")}
    try:
        routes = parse_routes(Path("/proc/net/route").read_text(encoding="ascii"))
        planned = {"plan": plan(routes=routes, **options)} if options["lab"] else {}
        needs = container_needs(
            Path("/proc/self/status").read_text(encoding="utf-8"), Path("/sys/fs/cgroup/cgroup.controllers").exists()
        )
    except ValueError as error:
        module.fail_json(msg=f"This lab cannot be built: {error}")
    if os.geteuid() != 0 and not shutil.which("sudo"):
        module.fail_json(
            msg="This lab cannot be built: it needs root, but the user is not root and there is no sudo; "
            "run it as root or install sudo"
        )
    machine = {
        "docker_answers": docker_answers(),
        "docker_installed": module.get_bin_path("dockerd") is not None,
        "registry_answers": reachable(*registry_of(module.params["base_image"])),
        "systemd": Path("/run/systemd/system").is_dir(),
        **needs,
    }
    digests = {name: tree_digest(paths)[:12] for name, paths in module.params["contexts"].items()}
    module.exit_json(changed=False, machine=machine, digests=digests, **planned)


if __name__ == "__main__":
    main()
