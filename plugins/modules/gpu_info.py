#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_info
short_description: List the NVIDIA GPUs of a host
version_added: 0.1.0
description:
  - Lists the GPUs that the driver knows, with their UUIDs, by asking C(nvidia-smi).
  - What C(nvidia-smi) warns of beside them, such as a damaged infoROM, is passed on as a warning.
  - >-
    Fails, and says what to do, where the driver is not loaded, a GPU has fallen off the bus, or there is no GPU.
    It also fails rather than take anything else, such as a MIG slice, for a GPU.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  executable:
    description: Name of C(nvidia-smi), to be found on C(PATH), or its path.
    type: path
    default: nvidia-smi
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Look at the GPUs
  sparkops.dgx_spark.gpu_info:
  register: gpu

- name: Name each GPU as a generic resource of Docker Swarm
  ansible.builtin.debug:
    msg: "{{ ['NVIDIA-GPU='] | product(gpu.gpus | map(attribute='uuid')) | map('join') }}"
"""

RETURN = r"""
gpus:
  description: The GPUs, as the driver orders them.
  returned: success
  type: list
  elements: dict
  contains:
    index:
      description: Number of the GPU, from 0. It can change when the host starts anew.
      type: int
      sample: 0
    uuid:
      description: UUID of the GPU, which does not change.
      type: str
      sample: GPU-e793e0a4-fd41-dcd8-a833-3127370a6779
    name:
      description: Name of the product.
      type: str
      sample: NVIDIA GB10
    driver_version:
      description: Version of the driver.
      type: str
      sample: 580.95.05
    compute_capability:
      description: CUDA compute capability, null if the driver does not tell.
      type: str
      sample: "12.1"
    memory_total_mib:
      description: The GPU's own memory in MiB, null where it has none and uses the host's, as on a DGX Spark.
      type: int
      sample: null
unified_memory:
  description: Whether no GPU has memory of its own, so that memory is counted on the host (C(/proc/meminfo)).
  returned: success
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.nvidia_smi import (
    QUERY,
    NvidiaSmiError,
    read_answer,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"executable": {"type": "path", "default": "nvidia-smi"}}, supports_check_mode=True
    )
    module.run_command_environ_update = {"LANGUAGE": "C", "LC_ALL": "C"}
    tool = module.get_bin_path(module.params["executable"])
    if tool is None:
        module.fail_json(
            msg=f"{module.params['executable']} is not there, so this is no GPU host: install the NVIDIA driver with "
            "its utilities (nvidia-utils), or give the path as 'executable'"
        )
    rc, out, err = module.run_command([tool, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"])
    try:
        gpus, warnings = read_answer(rc, out, err)
    except NvidiaSmiError as exc:
        module.fail_json(msg=str(exc), rc=rc, stdout=out, stderr=err)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(changed=False, gpus=gpus, unified_memory=all(gpu["memory_total_mib"] is None for gpu in gpus))


if __name__ == "__main__":
    main()
