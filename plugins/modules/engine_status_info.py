#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_status_info
short_description: Read how a Spark and all that it serves are doing
version_added: 0.1.0
description:
  - >-
    Reads, in one call and within a time, the instances that are configured on the host, what their supervisors say,
    their containers and units, the Swarm, memory, GPU, and what the links carry. It has to be told of no model.
  - >-
    Works on a host where nothing of this collection is, and without root. Without root, Docker answers a member of the
    group C(docker) alone. What could not be read is told in RV(unread), and is no failure.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  meminfo_path:
    description: The file that tells this host's memory.
    type: path
    default: /proc/meminfo
  interval:
    description: Seconds between two looks at the counters of the links.
    type: float
    default: 0.5
  seconds:
    description: After which no part is waited for any more.
    type: float
    default: 15
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read how this Spark is doing
  sparkops.dgx_spark.engine_status_info:
  register: status
"""

RETURN = r"""
read:
  description: What was read, by part.
  returned: success
  type: dict
  contains:
    machine:
      description: C(hostname), C(kernel), C(up_s), and in C(memory) C(total_mib), C(available_mib), C(swap_used_mib).
      type: dict
    gpus:
      description: >-
        The GPUs, each with C(name), C(driver), C(temperature_c), C(power_w), C(clock_mhz), C(clock_max_mhz), C(used)
        (0 to 1) and C(pstate); null for what the driver does not tell.
      type: list
      elements: dict
    links:
      description: >-
        The links of all RDMA devices, as M(sparkops.dgx_spark.ibdev2netdev_info) names their state, with
        C(sent_bytes_s) and C(received_bytes_s).
      type: list
      elements: dict
    instances:
      description: The configured instances, with C(cluster), C(node), C(state), C(commit) and C(launcher).
      type: list
      elements: dict
    docker:
      description: C(version), the C(swarm), the C(containers) of each instance, and their C(images).
      type: dict
    units:
      description: What systemd says of the units of the instances, and of their gateways.
      type: dict
    gateways:
      description: >-
        The API gateways of the host, each with C(name), C(instance), C(listens), and what its clients asked within the
        last hour in C(clients), null where C(problem) says why not; C(all) is whether the whole hour was counted.
      type: list
      elements: dict
unread:
  description: Why other parts were not read, by part.
  returned: success
  type: dict
  sample: {"gpus": "there is no nvidia-smi: install the NVIDIA driver with its utilities (nvidia-utils)"}
at:
  description: This host's clock, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""

import time
from typing import Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import service
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import use
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.host import instances
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import Layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.bounded import every_part, run_apart
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._status import gpu, host

ANSWER_S = 8.0  #: that Docker, and a program, get for an answer


def run(argv: Sequence[str]) -> tuple[int, str, str]:
    """A program's exit status and both its outputs, within that time."""
    return run_apart(argv, ANSWER_S)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "meminfo_path": {"type": "path", "default": "/proc/meminfo"},
            "interval": {"type": "float", "default": 0.5},
            "seconds": {"type": "float", "default": 15},
        },
        supports_check_mode=True,
    )
    asked, now = module.params, time.time()
    for name, least, most in (("interval", 0.05, 10), ("seconds", 1, 300)):
        if not least <= asked[name] <= most:
            module.fail_json(msg=f"{name} is {asked[name]}: give seconds from {least} to {most}. Nothing was changed.")
    try:
        configured = host.configured()
    except OSError as error:
        module.fail_json(msg=f"{told(error)}. Nothing was changed.")
    names = [one["name"] for one in configured]
    units = [*(f"{name}.service" for name in names), *(Layout(one).unit for one in instances())]
    read, unread = every_part(
        {
            "machine": lambda: host.machine(asked["meminfo_path"]),
            "gpus": lambda: gpu.read_answer(*run(gpu.QUERY)),
            "links": lambda: host.links_of("/sys", asked["interval"]),
            "docker": lambda: host.docker_of(service.awake(Docker(timeout=ANSWER_S)), names, now),
            "units": lambda: host.units_of(run, units),
            "gateways": lambda: use.gateways(run, now),
        },
        asked["seconds"],
    )
    read["instances"] = configured
    module.exit_json(changed=False, read=read, unread=unread, at=now)


if __name__ == "__main__":
    main()
