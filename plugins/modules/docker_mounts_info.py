#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_mounts_info
short_description: List the directories of the host that are mounted in running containers
version_added: 0.1.0
description:
  - Lists the bind mounts of the containers that run. Where there is no socket of a Docker Engine, there are none.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.docker
options:
  ending:
    description: >-
      The names of containers and of stacks that do not count, such as
      RV(sparkops.dgx_spark.engine_undo_plan#module:ending).
    type: list
    elements: str
    default: []
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read which directories are mounted
  sparkops.dgx_spark.docker_mounts_info:
  become: true
  register: mounted
"""

RETURN = r"""
mounts:
  description: The names of the containers, by the directory that they have mounted.
  returned: success
  type: dict
  sample: {"/home/nvidia/.cache/huggingface/hub/models--openai--gpt-oss-20b": ["dgx-spark-trtllm_leader.1.x"]}
"""

from pathlib import Path
from typing import Any, Collection

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    SOCKET_OPTION,
    STACK_LABEL,
    Docker,
    DockerError,
    reads_answers,
)


@reads_answers
def bind_mounts(containers: list[dict[str, Any]], ending: Collection[str] = ()) -> dict[str, list[str]]:
    """Return by directory the containers that it is mounted into.

    :param ending: names of containers and of stacks that do not count.
    """
    mounts: dict[str, list[str]] = {}
    for container in containers:
        if {container["Names"][0].lstrip("/"), (container.get("Labels") or {}).get(STACK_LABEL)} & {*ending}:
            continue
        for mount in container.get("Mounts") or []:
            if mount.get("Type") == "bind":
                mounts.setdefault(mount["Source"], []).append(container["Names"][0].lstrip("/"))
    return mounts


def main() -> None:
    """Run the module."""
    ending = {"ending": {"type": "list", "elements": "str", "default": []}}
    module = AnsibleModule(argument_spec={**SOCKET_OPTION, **ending}, supports_check_mode=True)
    socket = module.params["docker_socket"]
    try:
        running = Docker(socket).running() if Path(socket).exists() else []
        mounts = bind_mounts(running, module.params["ending"])
    except DockerError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, mounts=mounts)


if __name__ == "__main__":
    main()
