#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_gpu_check
short_description: Check that a container sees exactly the NVIDIA GPUs of its host
version_added: 0.1.0
description:
  - >-
    Runs C(nvidia-smi) on the host and in a container with Docker's default runtime, and compares the GPUs by UUID. The
    container asks for all GPUs, has no network, and is removed. Nothing is pulled.
  - Fails, and says what to do, where the container sees other GPUs than the host, or one of the two sees none.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.docker
options:
  image:
    description: >-
      An image on the host, by name or ID. The default is what M(sparkops.dgx_spark.docker_gpu_image) creates.
    type: str
    default: dgx-spark/gpu-probe:host
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Check that containers see the GPUs
  sparkops.dgx_spark.docker_gpu_check:
  become: true
"""

RETURN = r"""
gpus:
  description: The UUIDs of the GPUs that the host and the container see.
  returned: success
  type: list
  elements: str
  sample: [GPU-e793e0a4-fd41-dcd8-a833-3127370a6779]
image:
  description: ID of the image that was used.
  returned: success
  type: str
  sample: sha256:0d6f1b9c…
at:
  description: When the GPUs were compared, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    SOCKET_OPTION,
    Docker,
    DockerError,
    id_of,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.gpu_probe import NAME, GpuProbeError, explain
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.host_facts import ASK_GPUS, read_gpus
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.nvidia_smi import (
    NvidiaSmiError,
    is_answer,
    parse_gpus,
)


def gpus_inside(module: AnsibleModule, image: str) -> list[str]:
    """Return the UUIDs of the GPUs that a container sees."""
    tool = module.get_bin_path("docker", required=True)
    options = ["--rm", "--pull=never", "--network=none", "--entrypoint=nvidia-smi"]
    environment = ["--env=NVIDIA_VISIBLE_DEVICES=all", "--env=NVIDIA_DRIVER_CAPABILITIES=utility"]
    rc, out, err = module.run_command([tool, "run", *options, *environment, image, *ASK_GPUS])
    if not is_answer(rc, out):
        raise GpuProbeError(explain(rc, f"{out}\n{err}"))
    return sorted(gpu["uuid"] for gpu in parse_gpus(out))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"image": {"type": "str", "default": NAME}, **SOCKET_OPTION}, supports_check_mode=True
    )
    module.run_command_environ_update = {"LANGUAGE": "C", "LC_ALL": "C"}
    image = module.params["image"]
    try:
        known = Docker(module.params["docker_socket"]).image(image)
        if known is None:
            raise GpuProbeError(f"the image {image} is not on the host: pull it, or name one that is")
        outside = sorted(gpu["uuid"] for gpu in read_gpus(module))
        image_id = id_of(known)
        inside = gpus_inside(module, image_id)
        if inside != outside:
            raise GpuProbeError(
                f"a container sees the GPUs {', '.join(inside)}, and the host has {', '.join(outside)}: see "
                "nvidia-container-runtime.mode in /etc/nvidia-container-runtime/config.toml, and CDI specifications in "
                "/etc/cdi that are out of date"
            )
    except (DockerError, GpuProbeError, NvidiaSmiError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, gpus=outside, image=image_id, at=time.time())


if __name__ == "__main__":
    main()
