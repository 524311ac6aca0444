#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_image_delta
short_description: Save a Docker image without the layers of the image that it is built on
version_added: 0.1.0
description:
  - Writes a tar that C(docker load) accepts on a host that has O(base) already, as small as what was added to it.
  - There the image has the same ID.
  - Needs Docker Engine 25 or later, on overlay2 or another graph driver, on both sides.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: none
    details: The tar is written anew every time.
author:
  - sparkops contributors (@sparkops)
options:
  image:
    description: Name or ID of the image.
    type: str
    required: true
  base:
    description: Name or ID of the image that it is built on.
    type: str
    required: true
  path:
    description: The tar to write, readable by all users.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Save what was added to NVIDIA's image
  sparkops.dgx_spark.docker_image_delta:
    image: dgx-spark/trtllm-serve:1
    base: nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5
    path: /var/tmp/trtllm-serve.tar
"""

RETURN = r"""
bytes:
  description: The size of the tar.
  returned: when it was written
  type: int
left_out:
  description: How many layers were left out.
  returned: when it was written
  type: int
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker_api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._image_delta import DeltaError, save, shared_layers


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str", "required": True},
            "base": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    image, base, path = (module.params[name] for name in ("image", "base", "path"))
    docker = module.get_bin_path("docker", required=True)
    api = Docker()
    try:
        layers = [api.ask("GET", f"/images/{name}/json")["RootFS"]["Layers"] for name in (image, base)]
        shared = shared_layers(*layers)
    except (DockerError, DeltaError) as error:
        module.fail_json(msg=f"{image} cannot be saved without {base}: {error}")
    if module.check_mode:
        module.exit_json(changed=True)
    draft = Path(f"{path}.new")
    try:
        left_out = save(docker, image, draft, shared)
    except DeltaError as error:
        module.fail_json(msg=f"{image} cannot be saved: {error}")
    draft.chmod(0o644)  # not secret: it is fetched by the login user
    draft.replace(path)
    module.exit_json(changed=True, bytes=Path(path).stat().st_size, left_out=left_out)


if __name__ == "__main__":
    main()
