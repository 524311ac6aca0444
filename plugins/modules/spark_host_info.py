#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: spark_host_info
short_description: Read from any Spark all that the doctor's checks need
version_added: 0.1.0
description:
  - >-
    Reads, in one call, who the host is, its clock, memory, GPU, packages, disks, ports, firewall, fabric, Docker,
    Swarm, servings, model cache, and what the ranks of a running engine do at this moment.
  - >-
    Safe on a host that is not yours: it writes nothing, installs nothing, wakes no device, and is bounded in time. A
    part that fails or hangs is named in RV(unread) with its why, and the others are read all the same.
  - >-
    Works without root as far as that goes. Secrets are taken out of what it returns, and of the environment of
    containers it tells only names, and the values of a few variables of NCCL.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  cache_dir:
    description: >-
      The Hugging Face cache; C(~) is the home directory of O(cache_owner), or else of the user who logged in, also
      where the module runs as root.
    type: str
    default: ~/.cache/huggingface
  cache_owner:
    description: The user whose cache it is. Empty for the one who logged in.
    type: str
    default: ""
  meminfo_path:
    description: The file that tells this host's memory.
    type: str
    default: /proc/meminfo
  reach:
    description: >-
      Where a TCP connection is to come about, each as C(host:port). Nothing is sent. Empty for nowhere.
    type: list
    elements: str
    default: []
  py_spy:
    description: >-
      Whether C(py-spy), where the host has it, may read where each rank of a running engine stands. It reads the memory
      of these processes and does not stop them.
    type: bool
    default: false
  seconds:
    description: How long it may take.
    type: int
    default: 60
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read the host
  sparkops.dgx_spark.spark_host_info:
    reach: ["huggingface.co:443"]
  become: true
  register: host
"""

RETURN = r"""
read:
  description: What was read, by part, such as C(host), C(clock), C(memory), C(gpu), C(links), C(docker) and C(serving).
  returned: success
  type: dict
unread:
  description: Why other parts were not read, by part.
  returned: success
  type: dict
  sample: {"kernel_log": "the kernel's log may be read by root and the group adm alone: run this with become"}
at:
  description: This host's clock, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import redact
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor.facts import Asked, read


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "cache_dir": {"type": "str", "default": "~/.cache/huggingface"},
            "cache_owner": {"type": "str", "default": ""},
            "meminfo_path": {"type": "str", "default": "/proc/meminfo"},
            "reach": {"type": "list", "elements": "str", "default": []},
            "py_spy": {"type": "bool", "default": False},
            "seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    given, at = module.params, time.time()
    asked = Asked(
        given["meminfo_path"],
        given["cache_dir"],
        tuple(filter(None, given["reach"])),
        given["py_spy"],
        given["seconds"],
        given["cache_owner"],
    )
    found, unread = read(asked)
    module.exit_json(changed=False, read=redact.value(found), unread=redact.value(unread), at=at)


if __name__ == "__main__":
    main()
