#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rdma_counters_info
short_description: Read how many bytes RDMA devices have carried
version_added: 0.1.0
description:
  - Reads the ports' counters from sysfs. M(sparkops.dgx_spark.rdma_counters_check) tells whether they moved since.
  - On a ConnectX-7 the counters are of RDMA traffic alone.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.rdma_counters
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read what both halves have carried
  sparkops.dgx_spark.rdma_counters_info:
    devices: [rocep1s0f0, roceP2p1s0f0]
  register: carried
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

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.rdma_counters import (
    OPTIONS,
    CountersError,
    read,
    totals,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    try:
        devices = read(Path(module.params["sysfs_root"]), module.params["devices"])
    except CountersError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, devices=devices, **totals(devices))


if __name__ == "__main__":
    main()
