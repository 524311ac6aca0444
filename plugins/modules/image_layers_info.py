#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_layers_info
short_description: List the images of a Docker Engine with their layers
version_added: 0.1.0
description:
  - Lists the images of an engine by ID with their layers, and tells how the engine keeps images.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read which images are there
  sparkops.dgx_spark.image_layers_info:
  become: true
  register: found
"""

RETURN = r"""
images:
  description: The layers of each image, as diff IDs, lowest first; by the image's ID.
  returned: success
  type: dict
  sample: {"sha256:5f6a…": ["sha256:11bb…", "sha256:77cc…"]}
store:
  description:
    - How the engine keeps images, C(graph driver) or C(containerd), as a Docker 29 does that was newly installed.
    - An image's ID is the digest of its configuration with the one, and of its manifest with the other.
  returned: success
  type: str
  sample: graph driver
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    Docker,
    DockerError,
    reads_answers,
    store_of,
)


@reads_answers
def layers_of(docker: Docker) -> dict[str, list[str]]:
    """Return by ID the layers of each image, lowest first."""
    ids = {image["Id"] for image in docker.ask("GET", "/images/json")}
    return {name: docker.ask("GET", f"/images/{name}/json")["RootFS"].get("Layers") or [] for name in sorted(ids)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    docker = Docker()
    try:
        images = layers_of(docker)
        store = store_of(docker.info())
    except DockerError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, images=images, store=store)


if __name__ == "__main__":
    main()
