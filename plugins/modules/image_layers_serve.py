#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_layers_serve
short_description: Serve the layers of a Docker image to other Sparks, out of Docker's own store
version_added: 0.1.0
description:
  - >-
    Answers what M(sparkops.dgx_spark.image_layers_load) asks for on other Sparks: documents and layers of one image,
    each by its SHA-256, read from where Docker keeps these, so that no copy is written.
  - >-
    Other Sparks come in over ssh, by the access that M(sparkops.dgx_spark.peer_copy_access) opens to O(directory).
    This module has to run as long as they copy, which is what C(async) is for. It ends when the socket in O(directory)
    is removed, once it has answered what was begun, or by itself when nobody was connected for a while.
  - What Docker has read of its own layers is given back by the page cache, since a Spark's GPU has no other memory.
  - Needs Docker Engine 25 or later, keeping images in the same way on all Sparks.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
    details: It tells whether the image is there.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: It serves each time.
author:
  - sparkops contributors (@sparkops)
options:
  id:
    description: The image's ID.
    type: str
    required: true
  user:
    description: The user that other Sparks log in as, who alone may use the socket. Required outside of check mode.
    type: str
  directory:
    description: Where the socket is made.
    type: path
    default: /run/dgx-spark-image
  saved:
    description: >-
      A directory for what C(docker save) writes. It is used where Docker keeps images in another way than by
      containerd or by C(overlay2), as long as the image is served.
    type: path
    default: /var/lib/dgx-spark-image
  idle_minutes:
    description: After how many minutes without a connection it ends.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Start to serve the image
  sparkops.dgx_spark.image_layers_serve:
    id: sha256:60a6274621e7d3b4e2c8f1a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0
    user: nvidia
  become: true
  async: 86400
  poll: 0
"""

RETURN = r"""
id:
  description: The image's ID.
  returned: success
  type: str
  sample: sha256:60a6274621e7
problems:
  description: Why connections ended before their time, as where another Spark was switched off.
  returned: outside of check mode
  type: list
  elements: str
"""

import pwd
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError, id_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_layers import release_image
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_source import ImageError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_store import store_for
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.serve import Server


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "id": {"type": "str", "required": True},
            "user": {"type": "str"},
            "directory": {"type": "path", "default": "/run/dgx-spark-image"},
            "saved": {"type": "path", "default": "/var/lib/dgx-spark-image"},
            "idle_minutes": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    asked, docker = module.params, Docker()
    problems: list[str] = []
    try:
        about = docker.image(asked["id"])
        if not about or id_of(about) != asked["id"]:
            module.fail_json(msg=f"{asked['id']} cannot be copied: this host's Docker has no such image")
        if module.check_mode:
            module.exit_json(changed=True, id=asked["id"])
        if not asked["user"]:
            module.fail_json(msg="user is missing: who is let in by other Sparks' keys")
        store = store_for(docker, asked["id"], Path(asked["saved"]), module.get_bin_path("docker", required=True))
        try:
            server = Server(Path(asked["directory"]), pwd.getpwnam(asked["user"]).pw_uid, store.find)
            server.run(asked["idle_minutes"] * 60)
            problems = server.problems
        finally:
            store.close()
            release_image(about)
    except KeyError:
        module.fail_json(msg=f"{asked['user']} is no user of this host")
    except (DockerError, ImageError, OSError) as exc:
        module.fail_json(msg=f"{asked['id']} cannot be served: {told(exc)}")
    module.exit_json(changed=True, id=asked["id"], problems=problems)


if __name__ == "__main__":
    main()
