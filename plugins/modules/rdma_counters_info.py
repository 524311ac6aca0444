#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rdma_counters_info
short_description: Read how many bytes RDMA devices have carried
version_added: "0.1.0"
description:
  - Reads the ports' counters from sysfs. Asked before and after a request, they tell whether it went by RDMA.
  - On a ConnectX-7 they count RDMA's traffic alone. In the lab's simulation they follow the netdev's, TCP included.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  devices:
    description: The names of the RDMA devices.
    type: list
    elements: str
    required: true
  since:
    description: Bytes that they had sent before. Waits until they have sent more, and fails if they do not.
    type: int
  timeout:
    description: How many seconds to wait for that. Drivers bring counters up to date now and then.
    type: int
    default: 10
  sysfs_root:
    description: Where the kernel lists them.
    type: path
    default: /sys/class/infiniband
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: See what both halves have carried
  sparkops.dgx_spark.rdma_counters_info:
    devices: [rocep1s0f0, roceP2p1s0f0]
  register: carried

- name: See that they have carried more since
  sparkops.dgx_spark.rdma_counters_info:
    devices: [rocep1s0f0, roceP2p1s0f0]
    since: "{{ carried.sent_bytes }}"
"""

RETURN = r"""
devices:
  description: C(sent_bytes) and C(received_bytes) by device, of all its ports, since its driver was loaded.
  returned: success
  type: dict
  sample: {"rocep1s0f0": {"sent_bytes": 8192, "received_bytes": 4096}}
sent_bytes:
  description: The sum over O(devices).
  returned: success
  type: int
  sample: 8192
received_bytes:
  description: The sum over O(devices).
  returned: success
  type: int
  sample: 4096
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.rdma_counters import CountersError, read, total


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "devices": {"type": "list", "elements": "str", "required": True},
            "since": {"type": "int"},
            "timeout": {"type": "int", "default": 10},
            "sysfs_root": {"type": "path", "default": "/sys/class/infiniband"},
        },
        supports_check_mode=True,
    )
    root, names, since = Path(module.params["sysfs_root"]), module.params["devices"], module.params["since"]
    deadline = time.monotonic() + module.params["timeout"]
    try:
        devices = read(root, names)
        while since is not None and total(devices, "sent_bytes") <= since and time.monotonic() < deadline:
            time.sleep(0.2)
            devices = read(root, names)
    except CountersError as error:
        module.fail_json(msg=str(error))
    sums: dict[str, Any] = {name: total(devices, name) for name in ("sent_bytes", "received_bytes")}
    if since is not None and sums["sent_bytes"] <= since:
        module.fail_json(
            msg=f"{', '.join(names)} sent nothing: it went another way than by RDMA", devices=devices, **sums
        )
    module.exit_json(changed=False, devices=devices, **sums)


if __name__ == "__main__":
    main()
