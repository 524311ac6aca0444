#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_gpu_probe
short_description: See that a container sees the NVIDIA GPUs of its host
version_added: "0.1.0"
description:
  - >-
    Runs C(nvidia-smi) on the host and in a container with Docker's default runtime, and returns what each sees. The
    container asks for all GPUs, has no network, and is removed. Nothing is pulled.
  - >-
    Where no image is named, one is made of the host's own shell and C library, which is all that C(nvidia-smi) needs,
    as the NVIDIA runtime brings the rest. So it works on a host without images and without the internet. This image,
    a few MB, is kept for the next time, and made anew where the host's files are others by then.
  - Fails, and says what to do, where the container cannot see the GPUs, or the host cannot.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
    details: Nothing can be seen without a container, so it only tells whether the image would be made.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  state:
    description: V(present) looks at the GPUs, V(absent) removes the image that was made for it.
    type: str
    choices: [present, absent]
    default: present
  image:
    description: An image that is on the host, by name or ID. Empty for one made of the host's own files.
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
- name: Look at the GPUs from inside a container
  sparkops.dgx_spark.docker_gpu_probe:
  register: probe

- name: They are the host's
  ansible.builtin.assert:
    that: probe.gpus == probe.host_gpus
"""

RETURN = r"""
gpus:
  description: The GPUs that the container sees, as M(sparkops.dgx_spark.gpu_info) returns them.
  returned: if O(state=present), without check mode
  type: list
  elements: dict
  sample:
    - index: 0
      uuid: GPU-e793e0a4-fd41-dcd8-a833-3127370a6779
      name: NVIDIA GB10
      driver_version: 580.95.05
      compute_capability: "12.1"
      memory_total_mib: null
host_gpus:
  description: The GPUs that the host sees, in the same form.
  returned: if O(state=present), without check mode
  type: list
  elements: dict
  sample: []
image:
  description: ID of the image that was used.
  returned: if O(state=present), without check mode
  type: str
  sample: sha256:0d6f1b9c…
"""

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.gpu_probe import (
    LABEL,
    NAME,
    SHELL,
    GpuProbeError,
    archive,
    explain,
    fingerprint,
    interpreter,
    libraries,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.nvidia_smi import (
    QUERY,
    NvidiaSmiError,
    explain_failure,
    parse_gpus,
)

ASK = [f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]


def inspect(module: AnsibleModule, docker: str, image: str) -> dict[str, Any]:
    """Return what Docker knows of an image, nothing where it is not there."""
    rc, out, _err = module.run_command([docker, "image", "inspect", image])
    return json.loads(out)[0] if rc == 0 else {}


def contents(module: AnsibleModule, tool: str) -> bytes:
    """Return a root file system with what nvidia-smi, and a shell, need of the host."""
    with Path(tool).open("rb") as stream:
        script = interpreter(stream.read(256))
    ldd = module.get_bin_path("ldd", required=True)
    # The runtime brings nvidia-smi itself.
    told = [module.run_command([ldd, program], check_rc=True)[1] for program in (script or tool, SHELL)]
    return archive([*(path for out in told for path in libraries(out)), *([script] if script else []), SHELL])


def make_image(module: AnsibleModule, docker: str, tool: str) -> tuple[str, bool]:
    """Return the ID of an image made of the host's own files, and whether it had to be made."""
    root = contents(module, tool)
    found, mark = inspect(module, docker, NAME), fingerprint(root)
    if ((found.get("Config") or {}).get("Labels") or {}).get(LABEL) == mark:
        return found["Id"], False
    if module.check_mode:
        return "", True
    argv = [docker, "import", "--change", f"LABEL {LABEL}={mark}", "-", NAME]
    rc, out, err = module.run_command(argv, data=root, binary_data=True)
    if rc != 0:
        raise GpuProbeError(f"no image could be made to look at the GPUs with: {err.strip()}; name one as 'image'")
    if found:
        module.run_command([docker, "image", "rm", found["Id"]])
    return out.strip(), True


def from_inside(module: AnsibleModule, docker: str, image: str) -> str:
    """Return what nvidia-smi prints in a container."""
    options = ["--rm", "--pull=never", "--network=none", "--entrypoint=nvidia-smi"]
    wishes = ["--env=NVIDIA_VISIBLE_DEVICES=all", "--env=NVIDIA_DRIVER_CAPABILITIES=utility"]
    rc, out, err = module.run_command([docker, "run", *options, *wishes, image, *ASK])
    if rc != 0:
        raise GpuProbeError(explain(rc, f"{out}\n{err}"))
    return out


def from_outside(module: AnsibleModule, tool: str) -> str:
    """Return what nvidia-smi prints on the host."""
    rc, out, err = module.run_command([tool, *ASK])
    if rc != 0:
        raise NvidiaSmiError(explain_failure(rc, f"{out}\n{err}"))
    return out


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "image": {"type": "str", "default": ""},
            "executable": {"type": "path", "default": "nvidia-smi"},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LANGUAGE": "C", "LC_ALL": "C"}
    docker, image, changed = module.get_bin_path("docker", required=True), module.params["image"], False
    if module.params["state"] == "absent":
        there = bool(inspect(module, docker, NAME))
        if there and not module.check_mode:
            # Swarm leaves some where a node went away in the middle of a look.
            _rc, left, _err = module.run_command([docker, "ps", "--all", "--quiet", f"--filter=label={LABEL}"])
            if left.split():
                module.run_command([docker, "rm", "--force", *left.split()], check_rc=True)
            module.run_command([docker, "image", "rm", NAME], check_rc=True)
        module.exit_json(changed=there)
    tool = module.get_bin_path(module.params["executable"], required=True)
    try:
        if image:
            image = inspect(module, docker, image).get("Id") or image
        else:
            image, changed = make_image(module, docker, tool)
        if module.check_mode:
            module.exit_json(changed=changed)
        outside = parse_gpus(from_outside(module, tool))
        inside = parse_gpus(from_inside(module, docker, image))
    except (GpuProbeError, NvidiaSmiError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=changed, gpus=inside, host_gpus=outside, image=image)


if __name__ == "__main__":
    main()
