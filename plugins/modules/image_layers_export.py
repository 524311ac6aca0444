#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_layers_export
short_description: Export a Docker image as files that are named by their hashes
version_added: 0.1.0
description:
  - Writes what C(docker save) gives out, file by file, without the layers that all receivers have already.
  - M(sparkops.dgx_spark.image_layers_import) makes the same image of these files, with the same ID.
  - What Docker has read of its own layers is given back by the page cache, since a Spark's GPU has no other memory.
  - Needs Docker Engine 25 or later, keeping images in the same way on both sides. With containerd the
    layers go by other digests than those that are compared, and all of them travel.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: none
    details: The files are written anew every time.
author:
  - sparkops contributors (@sparkops)
options:
  image:
    description: Name or ID of the image. A name by which the image is exported is kept.
    type: str
    required: true
  directory:
    description: Where to write. What is in the directory is removed first.
    type: path
    required: true
  receivers:
    description: The images of each receiver, as M(sparkops.dgx_spark.image_layers_info) returns them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Export the layers of the image that spark2 lacks
  sparkops.dgx_spark.image_layers_export:
    image: dgx-spark/trtllm-serve:1
    directory: /var/lib/dgx-spark/image
    receivers: ["{{ hostvars['spark2'].found.images }}"]
  register: exported
"""

RETURN = r"""
id:
  description: The image's ID.
  returned: success
  type: str
files:
  description: The files, each as C(path), C(size) and C(sha256), which is the file name in O(directory).
  returned: outside of check mode
  type: list
  elements: dict
bytes:
  description: Bytes of all files.
  returned: outside of check mode
  type: int
left_out:
  description: How many layers were left out.
  returned: success
  type: int
"""

import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    Docker,
    DockerError,
    reads_answers,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_layers import (
    ImageError,
    common_layers,
    release_image,
    save,
)


@reads_answers
def known_layers(image: str, receivers: list[dict[str, list[str]]]) -> tuple[dict[str, Any], set[str]]:
    """Return what the engine says of an image, and its layers that all receivers have."""
    about = Docker().ask("GET", f"/images/{image}/json")
    return {**about, "Id": about["Id"]}, common_layers(
        about["RootFS"]["Layers"], [images.values() for images in receivers]
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "receivers": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    image, folder = module.params["image"], Path(module.params["directory"])
    docker = module.get_bin_path("docker", required=True)
    try:
        about, without = known_layers(image, module.params["receivers"])
        found = {"id": about["Id"], "left_out": len(without)}
        if not module.check_mode:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
            files = save(docker, image, folder, without)
            release_image(about)
            found.update(files=files, bytes=sum(file["size"] for file in files))
    except (DockerError, ImageError, OSError) as exc:
        module.fail_json(msg=f"{image} cannot be exported: {exc}")
    module.exit_json(changed=True, **found)


if __name__ == "__main__":
    main()
