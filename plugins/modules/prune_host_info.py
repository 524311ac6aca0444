#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: prune_host_info
short_description: Tell which models and images a host has, when each was last used, and which are needed
version_added: 0.1.0
description:
  - >-
    Lists the models of the Hugging Face cache and the images of Docker with their sizes, when each was last used, and
    whether it came by this collection.
  - >-
    Tells which of them are needed, and by whom: by containers, those too that do not run now, by services of a Swarm
    that this host manages, and by the configuration of this collection.
  - >-
    Where there is no socket of a Docker Engine, there are no images and no containers. Where systemd says that Docker
    is stopped, the module fails, since a question would start it.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.docker
options:
  cache_dir:
    description: >-
      The Hugging Face cache. C(~) is the home directory of O(cache_owner), or else of the user who logged in, also
      where the module runs as root.
    type: str
    default: ~/.cache/huggingface
  cache_owner:
    description: The user whose cache it is. Empty for the one who logged in.
    type: str
    default: ""
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read which models and images the host has
  sparkops.dgx_spark.prune_host_info:
  become: true
  register: there
"""

RETURN = r"""
models:
  description: >-
    The models, each with C(repo), C(repo_dir), C(bytes), C(last_used), C(noted) (whether this collection brought or
    verified it) and C(busy).
  returned: success
  type: list
  elements: dict
images:
  description: >-
    The images, each with C(id), C(names) (tags and digests), C(bytes), C(layers), C(labels) and C(last_used), in
    seconds since the epoch.
  returned: success
  type: list
  elements: dict
needed:
  description: By name the C(models), and by ID the C(images), that are needed, each with the names of those who do.
  returned: success
  type: dict
  sample: {"models": {"openai/gpt-oss-20b": ["dgx-spark-trtllm"]}, "images": {"sha256:60a6": ["dgx-spark-trtllm"]}}
filesystems:
  description: Where the C(cache) and the C(images) are, each with C(device), C(mount) and C(free_bytes).
  returned: success
  type: dict
now:
  description: This host's clock, in seconds since the epoch.
  returned: success
  type: float
"""

import os
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import service
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import SOCKET_OPTION, Docker
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_store import images_root
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.images import (
    containers_of,
    images,
    services_of,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import needed
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.host import copy_directory
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import list_models
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.room import filesystem


def of_docker(socket: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
    """The images, who uses them, and the directory in which they are; nothing where there is no engine."""
    if why := service.rests(socket):
        raise ValueError(
            f"{why}: what its containers need is not known without it. Start it (sudo systemctl start docker), and run "
            "this again. Nothing was changed."
        )
    if not Path(socket).exists():
        return [], [], ""
    docker = Docker(socket)
    info, containers = docker.info(), containers_of(docker)
    root = images_root(info)
    return images(docker, containers), [*containers, *services_of(docker)], root


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **SOCKET_OPTION,
            "cache_dir": {"type": "str", "default": "~/.cache/huggingface"},
            "cache_owner": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    asked = module.params
    try:
        cache = copy_directory(asked["cache_dir"], asked["cache_owner"], os.environ)
        found, users, root = of_docker(asked["docker_socket"])
        models, hub = list_models(cache), str(Path(cache, "hub"))
        needs = needed.needed(users, hub, [one["repo"] for one in models], needed.texts())
        places = {"cache": filesystem(cache), **({"images": filesystem(root)} if root else {})}
    except (ValueError, OSError) as error:
        module.fail_json(msg=told(error))
    module.exit_json(changed=False, models=models, images=found, needed=needs, filesystems=places, now=time.time())


if __name__ == "__main__":
    main()
