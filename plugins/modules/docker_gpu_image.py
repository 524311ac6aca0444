#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_gpu_image
short_description: Create the image that GPUs are checked with
version_added: 0.1.0
description:
  - >-
    Creates an image of a few MB from the host's own shell and C library, which is all that C(nvidia-smi) needs, as the
    NVIDIA runtime brings the rest. So a check needs no registry and no internet.
  - The image is created anew where the host's files have changed since.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.docker
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  name:
    description: Name of the image.
    type: str
    default: dgx-spark/gpu-probe:host
  state:
    description: V(present) creates the image, V(absent) removes the image and the containers that a check left behind.
    type: str
    choices: [present, absent]
    default: present
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Create the image for the GPU check
  sparkops.dgx_spark.docker_gpu_image:
  become: true
"""

RETURN = r"""
image:
  description: ID of the image, empty where there is none, as in check mode.
  returned: success
  type: str
  sample: sha256:0d6f1b9c…
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    SOCKET_OPTION,
    Docker,
    DockerError,
    id_of,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.gpu_probe import (
    LABEL,
    NAME,
    GpuProbeError,
    fingerprint,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.host_facts import (
    current_image,
    root_archive,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.nvidia_smi import NvidiaSmiError


def created(module: AnsibleModule, docker: Docker, name: str) -> dict[str, Any]:
    """Create the image unless it is there and up to date."""
    root = root_archive(module)
    current = current_image(docker, name, root)
    if current is not None:
        return {"changed": False, "image": current}
    if module.check_mode:
        return {"changed": True, "image": ""}
    before = docker.image(name)
    tool = module.get_bin_path("docker", required=True)
    argv = [tool, "import", "--change", f"LABEL {LABEL}={fingerprint(root)}", "-", name]
    rc, out, err = module.run_command(argv, data=root, binary_data=True)
    if rc != 0:
        raise GpuProbeError(f"Docker cannot create the image {name}: {err.strip()}; name one that the host has instead")
    if before is not None:
        module.run_command([tool, "image", "rm", id_of(before)])  # one that a container uses stays
    return {"changed": True, "image": out.strip()}


def removed(module: AnsibleModule, docker: Docker, name: str) -> dict[str, Any]:
    """Remove the image, and the containers that were started to check GPUs."""
    if docker.image(name) is None:
        return {"changed": False, "image": ""}
    if not module.check_mode:
        tool = module.get_bin_path("docker", required=True)
        # Swarm leaves some where a node went away in the middle of a check.
        left = module.run_command([tool, "ps", "--all", "--quiet", f"--filter=label={LABEL}"])[1].split()
        if left:
            module.run_command([tool, "rm", "--force", *left], check_rc=True)
        module.run_command([tool, "image", "rm", name], check_rc=True)
    return {"changed": True, "image": ""}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": NAME},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            **SOCKET_OPTION,
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LANGUAGE": "C", "LC_ALL": "C"}
    docker, name = Docker(module.params["docker_socket"]), module.params["name"]
    try:
        done = (created if module.params["state"] == "present" else removed)(module, docker, name)
    except (DockerError, GpuProbeError, NvidiaSmiError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**done)


if __name__ == "__main__":
    main()
