#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_image_absent
short_description: Remove images from Docker, by their names or by their IDs, exactly
version_added: 0.1.0
description:
  - >-
    Removes each name of an image that is named, and the image with its last name. Never by force: an image that a
    container was made of stays, and the module fails.
  - Unlike M(community.docker.docker_image_remove) it needs no Python package on the host.
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
  id:
    description: The image's ID, in full.
    type: str
    required: true
  names:
    description: >-
      Its tags and digests that are removed; with the last tag of a repository Docker removes its digests. An image
      that has another one by now keeps that, and stays.
    type: list
    elements: str
    default: []
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Remove an image
  sparkops.dgx_spark.docker_image_absent:
    id: sha256:60a6274621e7d3b4e2c8f1a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0
    names: ["nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5"]
  become: true
"""

RETURN = r"""
removed:
  description: The names, and the ID where the image is gone, that were removed, or would be.
  returned: success
  type: list
  elements: str
"""

import re
from typing import Any
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    SOCKET_OPTION,
    Docker,
    DockerError,
    reads_answers,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.images import names_of, with_digests

WHOLE = re.compile(r"sha256:[0-9a-f]{64}")


@reads_answers
def remove(docker: Docker, image: str, names: list[str], dry: bool) -> list[str]:
    """Remove the names that the image has, and the image where none is left. Return what goes.

    :raises DockerError: where the engine refuses, as while a container of it is there.
    """
    about = docker.image(image)
    if about is None or about["Id"] != image:
        return []
    there = names_of(about)
    goes = with_digests(names, there)
    going = [name for name in there if name in goes]
    last = going == there
    if not dry:
        for name in going:
            _delete(docker, name)
        if last:
            _delete(docker, image)  # where it has no name, or the engine keeps it without
    return [*going, *([image] if last else [])]


def _delete(docker: Docker, name: str) -> None:
    try:
        docker.ask("DELETE", f"/images/{quote(name, safe='/:@')}")
    except DockerError as error:
        if error.status != 404:  # the last of its names took the image away
            raise


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **SOCKET_OPTION,
            "id": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    asked: dict[str, Any] = module.params
    if not WHOLE.fullmatch(asked["id"]):
        module.fail_json(msg=f"{asked['id']} is no whole ID of an image (sha256: and 64 digits). Nothing was changed.")
    try:
        removed = remove(Docker(asked["docker_socket"]), asked["id"], asked["names"], module.check_mode)
    except DockerError as error:
        module.fail_json(msg=f"{asked['id']} ({', '.join(asked['names']) or 'without a name'}) stays: {error}")
    module.exit_json(changed=bool(removed), removed=removed)


if __name__ == "__main__":
    main()
