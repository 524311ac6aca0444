#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build_check
short_description: Check that an image of TensorRT-LLM is of a commit, and has code for a GB10
version_added: 0.1.0
description:
  - >-
    Reads the version out of the image's files, the commit out of its environment, and the GPUs for which its libraries
    have code, with the image's own C(cuobjdump), in a container without a GPU, a network or capabilities.
  - >-
    Fails where the image is not there, is of another commit, or its main library has no code that runs on a GB10. What
    could not be looked at is in RV(not_checked), and fails nothing.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.docker
options:
  image:
    description: The image, by name.
    type: str
    required: true
  id:
    description: The ID that the image is to have. Empty for any.
    type: str
    default: ""
  commit:
    description: The commit that it is to be of.
    type: str
    required: true
  libraries:
    description: >-
      Whether the libraries are looked at. Where they are not, as on the other Sparks, which have the same image by its
      ID, only the image's ID is compared.
    type: bool
    default: true
  meminfo:
    description: The file that tells the memory.
    type: path
    default: /proc/meminfo
  timeout:
    description: Seconds that the container may take.
    type: int
    default: 900
  memory_mib:
    description: MiB that it may take.
    type: int
    default: 4096
  floor_mib:
    description: MiB that the host must have available beside that, of a Spark with 128 GB.
    type: int
    default: 8192
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Check the image
  sparkops.dgx_spark.image_build_check:
    image: dgx-spark/tensorrt-llm/release:commit-0123456789ab
    commit: 0123456789abcdef0123456789abcdef01234567
  become: true
"""

RETURN = r"""
image:
  description: The image.
  returned: success
  type: str
  sample: dgx-spark/tensorrt-llm/release:commit-0123456789ab
id:
  description: The ID of the image.
  returned: success
  type: str
commit:
  description: The commit that it is of.
  returned: success
  type: str
version:
  description: The version of TensorRT-LLM. Empty without O(libraries).
  returned: success
  type: str
  sample: 1.4.0rc1
architectures:
  description: By library the code that it has, such as V(sm_120.cubin). Empty where that was not looked at.
  returned: success
  type: dict
without:
  description: The libraries that have code for GPUs, and none that runs on a GB10.
  returned: success
  type: list
  elements: str
engines:
  description: Why the image has no C(trtllm-build), empty where it has.
  returned: success
  type: str
checked:
  description: What was looked at, in words.
  returned: success
  type: list
  elements: str
not_checked:
  description: What was not, in words.
  returned: success
  type: list
  elements: str
at:
  description: When it was checked, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""

import os
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import architectures, images
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import SOCKET_OPTION, Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.image_facts import Limits
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told


def report(asked: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return what is told of an image that was looked at."""
    codes = found["codes"]
    checked = [f"ID {found['id']}", f"version {found['version']}"]
    not_checked = []
    if found["commit"]:
        checked.append(f"commit {found['commit']}, of the image's environment")
    else:
        not_checked.append("the commit: the image's environment does not tell it (TRT_LLM_GIT_COMMIT)")
    if codes is None:
        not_checked.append(f"the architectures: {found['no_codes_because']}")
    else:
        checked.append(f"architectures of {len(codes)} libraries, as cuobjdump lists them")
    return {
        "version": found["version"],
        "architectures": codes or {},
        "without": architectures.without(codes or {}),
        "engines": found["engines"],
        "checked": checked,
        "not_checked": not_checked,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str", "required": True},
            "id": {"type": "str", "default": ""},
            "commit": {"type": "str", "required": True},
            "libraries": {"type": "bool", "default": True},
            "meminfo": {"type": "path", "default": "/proc/meminfo"},
            "timeout": {"type": "int", "default": 900},
            "memory_mib": {"type": "int", "default": 4096},
            "floor_mib": {"type": "int", "default": 8192},
            **SOCKET_OPTION,
        },
        supports_check_mode=True,
    )
    asked = module.params
    docker = Docker(asked["docker_socket"])
    common: dict[str, Any] = {"image": asked["image"], "commit": asked["commit"], "at": time.time()}
    empty = {"version": "", "architectures": {}, "without": [], "engines": "", "not_checked": []}
    host, missing = os.uname().nodename, "is not there: run the playbook that builds it"
    try:
        if asked["libraries"]:
            limits = Limits(asked["timeout"], asked["memory_mib"], asked["floor_mib"])
            meminfo = Path(asked["meminfo"]).read_text(encoding="utf-8")
            found = images.facts(docker, asked["image"], limits, meminfo)
            wrong = images.problems(found, asked["commit"]) if found else [missing]
            about = report(asked, found) if found else empty
        else:
            there = docker.image(asked["image"])
            found = {"id": str(there["Id"])} if there else {}
            wrong, about = [] if found else [missing], {**empty, "checked": ["ID"]}
    except (DockerError, OSError) as error:
        module.fail_json(
            msg=f"{host}: the image {asked['image']} cannot be checked: {told(error)}. Nothing was changed."
        )
    if found and asked["id"] not in ("", found["id"]):
        wrong.append(f"its ID is {found['id']}, and {asked['id']} was built")
    if wrong:
        module.fail_json(msg=f"{host}: the image {asked['image']}: {'; '.join(wrong)}. Nothing was changed.", **about)
    module.exit_json(changed=False, id=found["id"], **common, **about)


if __name__ == "__main__":
    main()
