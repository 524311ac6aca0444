#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_layers_import
short_description: Load a Docker image from the files that image_layers_export wrote
version_added: 0.1.0
description:
  - Loads the image, and fails unless the engine then has an image of the same ID.
  - >-
    The files may lie in a user's directory. They are hashed while they are read, no link is followed, and an image of
    which one file is not what O(files) says is not loaded.
  - What Docker has written is given back by the page cache, since a Spark's GPU has no other memory.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
author:
  - sparkops contributors (@sparkops)
options:
  id:
    description: The image's ID.
    type: str
    required: true
  directory:
    description: Where the files are.
    type: path
    required: true
  files:
    description: The files, as M(sparkops.dgx_spark.image_layers_export) returned them.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path in the image's tar.
        type: str
        required: true
      size:
        description: Bytes.
        type: int
        required: true
      sha256:
        description: Its hash, which is its file name in O(directory).
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Load the image
  sparkops.dgx_spark.image_layers_import:
    id: "{{ hostvars['spark1'].exported.id }}"
    directory: /home/nvidia/.dgx-spark/copy-image.files
    files: "{{ hostvars['spark1'].exported.files }}"
"""

RETURN = r"""
id:
  description: The ID that the image has on this host, the same as on the other.
  returned: success
  type: str
  sample: sha256:60a6274621e7
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    Docker,
    DockerError,
    reads_answers,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_layers import (
    ImageError,
    load,
    release_image,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import FILES_OPTION


@reads_answers
def known_ids(engine: Docker) -> set[str]:
    """Return the IDs of the engine's images."""
    return {image["Id"] for image in engine.ask("GET", "/images/json")}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "id": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "files": FILES_OPTION,
        },
        supports_check_mode=True,
    )
    wanted, docker = module.params["id"], module.get_bin_path("docker", required=True)
    engine = Docker()
    try:
        if wanted in known_ids(engine):
            module.exit_json(changed=False, id=wanted)
        if not module.check_mode:
            load(docker, module.params["files"], Path(module.params["directory"]))
            release_image(engine.ask("GET", f"/images/{wanted}/json"))
    except (DockerError, ImageError, OSError) as exc:
        module.fail_json(msg=f"{wanted} cannot be made of {module.params['directory']}: {exc}")
    module.exit_json(changed=True, id=wanted)


if __name__ == "__main__":
    main()
