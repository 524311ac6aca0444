#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_pull_progress
short_description: Pull a Docker image that is not there, and write the progress to a file
version_added: 0.1.0
description:
  - >-
    Has the engine pull an image, unless it has one of that name, and returns the digest that the registry gave it, by
    which it can be named for good.
  - >-
    Unlike M(community.docker.docker_image_pull) it needs no Python package on the host, and writes how many bytes came
    to a file that M(sparkops.dgx_spark.async_follow) always shows. Images of 20 GB take half an hour.
  - >-
    In check mode, the registry is asked for an image that is not there, so that a wrong name, tag or login, and an
    image for other processors, are reported before anything is changed. The image's size is told as well.
  - What Docker has written is given back by the page cache, since a Spark's GPU has no other memory.
  - A login is used for this pull alone. It stands in no file and on no command line.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  name:
    description: The image, with its tag or digest.
    type: str
    required: true
  user:
    description: User at the registry. C(nvcr.io) has V($oauthtoken) for everybody.
    type: str
    default: $oauthtoken
  password:
    description: Password or API key at the registry. Empty for none.
    type: str
    default: ""
  stall_seconds:
    description: Give up when the engine has sent nothing for so many seconds, as happens while a layer is verified.
    type: int
    default: 900
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Start pulling the image
  sparkops.dgx_spark.image_pull_progress:
    name: nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5
  become: true
  async: 86400
  poll: 0
  register: pulling

- name: Wait for the image pull
  sparkops.dgx_spark.async_follow:
    started: "{{ pulling }}"
"""

RETURN = r"""
name:
  description: The image that was asked for.
  returned: success
  type: str
  sample: nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5
id:
  description: The image's ID, empty in check mode if it is not there.
  returned: success
  type: str
  sample: sha256:60a6274621e7
digest:
  description: The image by the digest that its registry gave it, or in check mode will give; empty if no registry did.
  returned: success
  type: str
  sample: nvcr.io/nvidia/tensorrt-llm/release@sha256:2fb9f1b0
bytes:
  description: >-
    Compressed bytes of the image's layers, as the registry's manifest tells, 0 where the registry does not tell.
  returned: in check mode if the image is not there
  type: int
  sample: 20123456789
content_there:
  description: Whether the engine has all of it under another name, so that a pull brings that name alone.
  returned: in check mode if the image is not there
  type: bool
  sample: false
pulled_bytes:
  description: Bytes of the layers that came, compressed.
  returned: success
  type: int
  sample: 9876543210
seconds:
  description: How long the pull took.
  returned: success
  type: float
  sample: 312.5
"""

import os
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    Docker,
    DockerError,
    Layers,
    other_platforms,
    reads_answers,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_layers import release_image
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.registry import image_bytes
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import progress as progress_file


def bare(name: str) -> str:
    """Return an image's name without tag and digest."""
    folder, slash, last = name.partition("@")[0].rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


@reads_answers
def has_content(engine: Docker, digest: str) -> bool:
    """Whether the engine has what a registry offers by a digest, under another name."""
    names = [name for one in engine.ask("GET", "/images/json") for name in one.get("RepoDigests") or []]
    return any(name.endswith(f"@{digest}") for name in names)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "user": {"type": "str", "default": "$oauthtoken"},
            "password": {"type": "str", "default": "", "no_log": True},
            "stall_seconds": {"type": "int", "default": 900},
        },
        supports_check_mode=True,
    )
    asked, began, layers = module.params, time.monotonic(), Layers()
    engine = Docker(timeout=asked["stall_seconds"])
    found: dict[str, Any] = {}
    try:
        image = engine.image(asked["name"]) or {}
        missing = not image
        login = (asked["user"], asked["password"]) if asked["password"] else None
        if missing and module.check_mode:
            offered = engine.offered(asked["name"], login)
            other = other_platforms(offered, os.uname().machine)
            if other:
                module.fail_json(msg=f"{asked['name']} is made for {other}, and this host is {os.uname().machine}")
            digest = offered["Descriptor"]["digest"]
            image = {"RepoDigests": [f"{bare(asked['name'])}@{digest}"]}
            found["content_there"] = has_content(engine, digest)
            found["bytes"] = image_bytes(f"{bare(asked['name'])}@{digest}", os.uname().machine, login, engine.info())
        elif missing:
            with progress_file.written(
                Path(progress_file.PULL), f"{asked['name']} pulled", lambda: layers.whole, lambda: layers.there
            ):
                engine.pull(asked["name"], login, layers.add)
            image = engine.image(asked["name"]) or {}
            release_image(image)
    except DockerError as exc:
        module.fail_json(msg=f"{asked['name']} cannot be pulled: {exc}. Is its name right, and may this login pull it?")
    digests = [name for name in image.get("RepoDigests", []) if name.startswith(f"{bare(asked['name'])}@")]
    module.exit_json(
        name=asked["name"],
        changed=missing,
        id=image.get("Id", ""),
        digest=digests[0] if digests else "",
        pulled_bytes=layers.there,
        seconds=round(time.monotonic() - began, 1),
        **found,
    )


if __name__ == "__main__":
    main()
