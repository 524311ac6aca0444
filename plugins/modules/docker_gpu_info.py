#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_gpu_info
short_description: List the NVIDIA GPUs that a container sees
version_added: "0.1.0"
description:
  - >-
    Runs C(nvidia-smi) in a container with Docker's default runtime, and returns what it sees. The container asks for
    all GPUs, has no network, and is removed. Nothing is pulled.
  - >-
    Where no image is named, one is made for the moment of the host's own C library, which is all that C(nvidia-smi)
    needs, as the NVIDIA runtime brings the rest. So it works on a host without images and without the internet.
  - Fails, and says what to do, where the container cannot see them.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: partial
    details: Nothing can be seen without a container, so the task is skipped.
  diff_mode:
    support: N/A
    details: This module leaves nothing behind.
  idempotent:
    support: full
    details: This module leaves nothing behind.
options:
  image:
    description: An image that is on the host, by name or ID. Empty for one made of the host's own C library.
    type: str
    default: ""
  executable:
    description: Name of C(nvidia-smi), to be found on C(PATH) of the host.
    type: path
    default: nvidia-smi
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Look at the GPUs from the host
  sparkops.dgx_spark.gpu_info:
  register: host

- name: Look at the GPUs from inside a container
  sparkops.dgx_spark.docker_gpu_info:
  register: container

- name: They are the same
  ansible.builtin.assert:
    that: container.gpus == host.gpus
"""

RETURN = r"""
gpus:
  description: The GPUs, as M(sparkops.dgx_spark.gpu_info) returns them.
  returned: success
  type: list
  elements: dict
  sample:
    - index: 0
      uuid: GPU-e793e0a4-fd41-dcd8-a833-3127370a6779
      name: NVIDIA GB10
      driver_version: 580.95.05
      compute_capability: "12.1"
      memory_total_mib: null
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gpu_probe import (
    GpuProbeError,
    archive,
    explain,
    interpreter,
    libraries,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._nvidia_smi import QUERY, NvidiaSmiError, parse_gpus


def make_image(module: AnsibleModule, docker: str) -> str:
    """Make an image with what nvidia-smi needs of the host, and return its ID."""
    tool = module.get_bin_path(module.params["executable"], required=True)
    with Path(tool).open("rb") as stream:
        script = interpreter(stream.read(256))
    program = script or tool  # the runtime brings nvidia-smi itself
    _rc, out, _err = module.run_command([module.get_bin_path("ldd", required=True), program], check_rc=True)
    files = [*libraries(out), *([script] if script else [])]
    rc, out, err = module.run_command([docker, "import", "-"], data=archive(files), binary_data=True)
    if rc != 0:
        raise GpuProbeError(f"no image could be made to look at the GPUs with: {err.strip()}; name one as 'image'")
    return out.strip()


def look(module: AnsibleModule, docker: str, image: str) -> str:
    """Return what nvidia-smi prints in a container."""
    options = ["--rm", "--pull=never", "--network=none", "--entrypoint=nvidia-smi"]
    wishes = ["--env=NVIDIA_VISIBLE_DEVICES=all", "--env=NVIDIA_DRIVER_CAPABILITIES=utility"]
    query = [f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    rc, out, err = module.run_command([docker, "run", *options, *wishes, image, *query])
    if rc != 0:
        raise GpuProbeError(explain(rc, f"{out}\n{err}"))
    return out


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str", "default": ""},
            "executable": {"type": "path", "default": "nvidia-smi"},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, skipped=True, msg="check mode: no container is started to look into")
    module.run_command_environ_update = {"LANGUAGE": "C", "LC_ALL": "C"}
    docker = module.get_bin_path("docker", required=True)
    made = ""
    try:
        made = "" if module.params["image"] else make_image(module, docker)
        gpus = parse_gpus(look(module, docker, module.params["image"] or made))
    except (GpuProbeError, NvidiaSmiError) as exc:
        module.fail_json(msg=str(exc))
    finally:
        if made:
            module.run_command([docker, "image", "rm", made])
    module.exit_json(changed=False, gpus=gpus)


if __name__ == "__main__":
    main()
