#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_offers_info
short_description: Ask a registry which newer images of TensorRT-LLM it has, and what each says of itself
version_added: 0.1.0
description:
  - >-
    Reads the list of tags of an image's repository and, of the newest ones, manifest and configuration, over the
    registry's HTTP API with TLS, its tokens, Docker's certificates and Docker's proxy. Nothing is pulled.
  - >-
    What an image says of itself are the environment variables that TensorRT-LLM's Dockerfile sets. Labels of the same
    meaning may be those of the image below.
  - >-
    A registry that cannot be asked is told in RV(problem) and fails nothing: a build from source needs no list of
    tags.
  - Needs root, which may ask Docker Engine for its proxy.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.docker
options:
  image:
    description: An image of the repository that is asked for. Its tag says what is newer.
    type: str
    required: true
  version:
    description: The version that an image has to be newer than, where the tag of O(image) tells none.
    type: str
    default: ""
  user:
    description: User at the registry. C(nvcr.io) has V($oauthtoken) for everybody.
    type: str
    default: $oauthtoken
  password:
    description: Password or API key at the registry. Empty for none.
    type: str
    default: ""
  most:
    description: Of how many of the newest tags more is asked.
    type: int
    default: 3
  timeout:
    description: Seconds that one answer of the registry may take.
    type: float
    default: 20
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read which newer images there are
  sparkops.dgx_spark.image_offers_info:
    image: nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13
  become: true
  register: offers
"""

RETURN = r"""
repository:
  description: The repository, without tag.
  returned: success
  type: str
  sample: nvcr.io/nvidia/tensorrt-llm/release
tags:
  description: How many tags it has.
  returned: success
  type: int
  sample: 74
newer:
  description: The tags that tell a newer version, the newest first.
  returned: success
  type: list
  elements: str
  sample: [1.4.0rc1, 1.4.0rc0]
offers:
  description:
    - >-
      Of the newest ones C(tag), C(nightly), C(bytes) (compressed), C(architectures), C(says) (C(version), C(commit),
      C(cuda), C(pytorch), C(created), C(architecture), each empty where the image does not say) and C(problem).
  returned: success
  type: list
  elements: dict
problem:
  description: Why the registry does not tell its tags, empty where it does.
  returned: success
  type: str
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import offers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import SOCKET_OPTION, Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.registry import reference
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_options import version_of


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str", "required": True},
            "version": {"type": "str", "default": ""},
            "user": {"type": "str", "default": "$oauthtoken"},
            "password": {"type": "str", "default": "", "no_log": True},
            "most": {"type": "int", "default": 3},
            "timeout": {"type": "float", "default": 20},
            **SOCKET_OPTION,
        },
        supports_check_mode=True,
    )
    asked = module.params
    login = (asked["user"], asked["password"]) if asked["password"] else None
    try:
        info: dict[str, Any] = Docker(asked["docker_socket"]).info()
    except DockerError:
        info = {}  # no Docker yet, and so no proxy of Docker's
    than = version_of(asked["image"]) or asked["version"]
    name = asked["image"]
    try:
        found = offers.ask(name, than, asked["most"], os.uname().machine, login, info, asked["timeout"])
        problem = ""
    except offers.FAILURES as error:
        found = {"repository": offers.repository_of(name), "tags": 0, "newer": [], "offers": []}
        problem = (
            f"{reference(name).server} does not tell the tags of {reference(name).repository} "
            f"({str(error) or type(error).__name__}): see that this Spark reaches it, and that the login may read it"
        )
    module.exit_json(changed=False, problem=problem, **found)


if __name__ == "__main__":
    main()
