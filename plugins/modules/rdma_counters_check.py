#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rdma_counters_check
short_description: Check that RDMA devices have sent more bytes since they were read
version_added: 0.1.0
description:
  - Reads the ports' counters from sysfs until they are higher than M(sparkops.dgx_spark.rdma_counters_info) found them
    before a request, and fails where they do not move, since the request went another way than by RDMA then.
  - On a ConnectX-7 the counters are of RDMA traffic alone.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.rdma_counters
options:
  since:
    description: Bytes that the devices had sent before.
    type: int
    required: true
  timeout:
    description: How many seconds to wait for that. Drivers bring counters up to date now and then.
    type: int
    default: 10
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Check that both halves have carried more since
  sparkops.dgx_spark.rdma_counters_check:
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
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.rdma_counters import (
    OPTIONS,
    CountersError,
    read,
    total,
    totals,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "since": {"type": "int", "required": True},
            "timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    root, names, since = Path(module.params["sysfs_root"]), module.params["devices"], module.params["since"]
    deadline = time.monotonic() + module.params["timeout"]
    try:
        devices = read(root, names)
        while total(devices, "sent_bytes") <= since and time.monotonic() < deadline:
            time.sleep(0.2)
            devices = read(root, names)
    except CountersError as error:
        module.fail_json(msg=str(error))
    sums: dict[str, Any] = {**totals(devices)}
    if sums["sent_bytes"] <= since:
        module.fail_json(
            msg=f"{', '.join(names)} sent nothing since: the answer went another way than by RDMA",
            devices=devices,
            **sums,
        )
    module.exit_json(changed=False, devices=devices, **sums)


if __name__ == "__main__":
    main()
