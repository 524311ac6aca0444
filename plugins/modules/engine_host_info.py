#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_host_info
short_description: Read from a Spark all that a serving is planned from
version_added: 0.1.0
description:
  - >-
    Reads, in one call, the host's name, platform and memory, the files of a serving, the state of its supervisor, of
    its unit, its containers, services and images, what was kept of the base image, who listens on its ports, the
    firewall, and which packages are installed.
  - Needs root.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  engine:
    description: The engine, by which the container, its unit, the stack, the images and the directories are named.
    type: str
    required: true
  instance:
    description: The instance's name, where there are several. Empty for that without a name.
    type: str
    default: ""
  meminfo_path:
    description: The file that tells this host's memory.
    type: str
    default: /proc/meminfo
  base_image:
    description: The image that the engine's image is built from, to look up in Docker. Empty for none.
    type: str
    default: ""
  downloads:
    description: The names of files that the engine needs beside the model.
    type: list
    elements: str
    default: []
  listen:
    description: Where the serving is to listen on this host.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: The IP address, which the host need not have yet; V(0.0.0.0) stands for all.
        type: str
        required: true
      port:
        description: The port.
        type: int
        required: true
  firewall:
    description: >-
      With V(ufw) the rules of ufw are read where it is installed, with V(auto) where it is enabled, with V(none) never.
    type: str
    choices: [auto, ufw, none]
    default: ufw
  rdma_devices:
    description: The RDMA devices that the serving uses on this host, to read their counters.
    type: list
    elements: str
    default: []
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read the serving on this host
  sparkops.dgx_spark.engine_host_info:
    engine: trtllm
    listen:
      - {address: 127.0.0.1, port: 8355}
  become: true
  register: serving
"""

RETURN = r"""
layout:
  description: Paths and names of the serving, such as C(config_dir), C(state_dir) and C(name).
  returned: success
  type: dict
hostname:
  description: What NCCL calls this host in its lines, which is its host name up to the first dot.
  returned: success
  type: str
  sample: spark-1a2b
platform:
  description: The versions of C(kernel), C(driver) and C(firmware), each empty where the host has none.
  returned: success
  type: dict
  sample: {"kernel": "6.11.0-1016-nvidia", "driver": "580.95.05", "firmware": "28.45.4028"}
memory_mib:
  description: All the memory of this host, in MiB.
  returned: success
  type: int
  sample: 122572
memory_available_mib:
  description: The memory that is free, or could be made free, in MiB; 0 where that is not told.
  returned: success
  type: int
  sample: 61440
instances:
  description: >-
    The names of all instances of O(engine) of which anything is on this host; the empty one is that without a name.
  returned: success
  type: list
  elements: str
  sample: ["", vlm]
others:
  description: >-
    The other instances and engines that are configured on this host, each with C(name), C(engine), C(instance),
    C(leader), C(rank), C(launcher), C(api_listen), C(ssh_port), C(phase), and in MiB C(share_mib), its share of the
    weights, and C(budget_mib), 0 where it may take what is free.
  returned: success
  type: list
  elements: dict
entries:
  description: >-
    What lies where the serving has its files, by path. Each has C(kind) (C(file), C(directory), C(other) or
    C(absent)), and where there is something C(mode); a file has C(digest) (SHA-256), and one that is compared by its
    text C(content).
  returned: success
  type: dict
kept:
  description: The configurations whose files an interrupted play has kept to go back to.
  returned: success
  type: list
  elements: str
  sample: []
state:
  description: The supervisor's state file; empty where there is none.
  returned: success
  type: dict
unit:
  description: C(active), the active state of the unit as systemd names that.
  returned: success
  type: dict
  sample: {"active": "active"}
packages:
  description: The packages of Ansible's Docker modules that are installed.
  returned: success
  type: list
  elements: str
  sample: [python3-requests]
unavailable:
  description: Those of the packages that are neither installed nor in a package source that this host has lists of.
  returned: success
  type: list
  elements: str
firewall:
  description: >-
    Whether ufw is C(installed) and C(enabled), and its C(rules), each with C(rule) and C(comment), which are empty
    where they were not read.
  returned: success
  type: dict
ufw_enabled:
  description: Whether ufw is enabled, whatever O(firewall) says.
  returned: success
  type: bool
addresses:
  description: The global addresses of this host with their netdevs, without those of containers.
  returned: success
  type: list
  elements: str
  sample: [192.168.1.20/24 on enP7s7]
docker:
  description: What Docker has of the serving. Where no Docker answers, there is C(problem) alone, which says why.
  returned: success
  type: dict
  contains:
    store:
      description: How images are kept, C(graph driver) or C(containerd); an image goes by another ID with each.
      type: str
    room:
      description: >-
        By what lies there (C(images), C(docker) for its temporary files, C(saved) where an image can only be served
        from what C(docker save) writes) the C(path), and the C(filesystem) with its C(device), C(mount) and
        C(free_bytes).
      type: dict
    build_proxies:
      description: Docker's own proxies, as arguments of a build, where nothing else gives a build proxies.
      type: dict
    swarm:
      description: Whether this host is a C(manager), and its C(state).
      type: dict
    base:
      description: C(id), C(digest), C(bytes) and C(layers) of O(base_image), empty where it is not there.
      type: dict
    images:
      description: The IDs of all images.
      type: list
      elements: str
    built:
      description: C(id), C(tags), C(labels), C(bytes) and C(layers) of the images that were built for the engine.
      type: list
      elements: dict
    container:
      description: C(image), C(labels) and C(state) of the container that systemd keeps, empty where there is none.
      type: dict
    beside:
      description: The names of containers that an interrupted play has left beside that one.
      type: list
      elements: str
    stack_containers:
      description: C(id), C(name) and C(state) of the stack's containers on this host.
      type: list
      elements: dict
    services:
      description: On a manager, the labels of the stack's services, by name.
      type: dict
    replicas:
      description: On a manager, how many containers each of these services is to have; 0 of one that was stopped.
      type: dict
gateways:
  description: The instances that have an API gateway here, the empty name for the one without a name.
  returned: success
  type: list
  elements: str
  sample: [""]
image_facts:
  description: >-
    What was kept of O(base_image), as M(sparkops.dgx_spark.trtllm_image_info) and
    M(sparkops.dgx_spark.vllm_image_info) return it; empty where nothing was, or no Docker answers.
  returned: success
  type: dict
listen:
  description: >-
    O(listen), each with C(taken), whether another program has the port, and C(holders), who listens there. Another
    engine that serves under the same name gives way, and is none.
  returned: success
  type: list
  elements: dict
rdma_sent_bytes:
  description: >-
    The bytes that O(rdma_devices) have sent since their driver was loaded, null where there are none, or one of them is
    not there.
  returned: success
  type: int
  sample: 8192
"""

import os
from pathlib import Path
from typing import Any, Mapping, Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, host, image_facts, last_good
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.exposed import addresses
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import (
    PACKAGES,
    instance_problem,
    layout,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.rdma_counters import (
    SYSFS_ROOT,
    CountersError,
    read,
    total,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.host import instances as gateways
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import ufw
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import unavailable


def rdma_sent_bytes(devices: Sequence[str]) -> int | None:
    """Return what the devices have sent, None where there are none, or one of them is not there."""
    if not devices:
        return None
    try:
        return total(read(Path(SYSFS_ROOT), devices), "sent_bytes")
    except CountersError:
        return None


def kept_of(docker: Docker, image: str, engine: str, places: Mapping[str, str]) -> dict[str, Any]:
    """Return what was kept of an image beside a serving's state, empty where nothing was."""
    found = image_facts.image_for(docker, image, layout(engine, "")) if image else {}
    kept = image_facts.noted(found.get("id", ""), image, places["state_dir"]) if image else {}
    return {**kept, "source": "note"} if kept else {}


def look(module: AnsibleModule) -> dict[str, Any]:
    """Return all facts."""
    asked = module.params

    def run(argv: Sequence[str]) -> tuple[int, str]:
        tool = module.get_bin_path(argv[0])
        if not tool:
            return 127, ""
        code, out, _err = module.run_command([tool, *argv[1:]])
        return code, out

    docker, places, packages = Docker(), layout(asked["engine"], asked["instance"]), host.packages(run, PACKAGES)
    others = host.others(places)
    try:
        engine = host.docker_of(docker, asked["base_image"], places)
        kept = kept_of(docker, asked["base_image"], asked["engine"], places)
        giving_way = [one["name"] for one in others if one["instance"] == asked["instance"]]
        listen = host.listeners(docker, asked["listen"], [places["name"], *giving_way])
        instances = host.instances_here(docker, asked["engine"])
    except DockerError as error:
        engine, listen, kept = {"problem": str(error)}, [], {}
        instances = host.instances_here(None, asked["engine"])
    return {
        "layout": places,
        "hostname": contract.short(os.uname().nodename),
        "platform": host.platform(run),
        "memory_mib": host.memory_mib(),
        "memory_available_mib": host.memory_available_mib(asked["meminfo_path"]),
        "instances": instances,
        "others": others,
        "gateways": gateways(),
        "entries": host.entries(places, asked["downloads"]),
        "kept": last_good.left_in(Path(places["config_dir"])),
        "state": host.state_in(Path(places["state_dir"])),
        "unit": host.unit(run, places["unit"]),
        "packages": packages,
        "unavailable": unavailable(run, [name for name in PACKAGES if name not in packages]),
        "firewall": host.firewall(run, asked["firewall"]),
        "ufw_enabled": ufw.is_enabled(Path(ufw.CONF)),
        "addresses": addresses(run(["ip", "-j", "address"])[1]),
        "docker": engine,
        "image_facts": kept,
        "listen": listen,
        "rdma_sent_bytes": rdma_sent_bytes(asked["rdma_devices"]),
    }


def main() -> None:
    """Run the module."""
    place = {"address": {"type": "str", "required": True}, "port": {"type": "int", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "engine": {"type": "str", "required": True},
            "instance": {"type": "str", "default": ""},
            "meminfo_path": {"type": "str", "default": contract.MEMINFO},
            "base_image": {"type": "str", "default": ""},
            "downloads": {"type": "list", "elements": "str", "default": []},
            "firewall": {"type": "str", "choices": ["auto", "ufw", "none"], "default": "ufw"},
            "rdma_devices": {"type": "list", "elements": "str", "default": []},
            "listen": {"type": "list", "elements": "dict", "default": [], "options": place},
        },
        supports_check_mode=True,
    )
    unnamed = instance_problem(module.params["instance"])
    if unnamed:
        module.fail_json(msg=f"{unnamed}. Nothing was changed.")
    module.run_command_environ_update = {"LANG": "C", "LC_ALL": "C"}
    try:
        found = look(module)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{os.uname().nodename} cannot be read: {told(error)}. Nothing was changed.")
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
