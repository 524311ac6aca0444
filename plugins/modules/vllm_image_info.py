#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_image_info
short_description: Tell which flags an image of vLLM takes
version_added: 0.1.0
description:
  - >-
    Tells what was kept of an image on the host: the version of vLLM, and the flags of its C(vllm serve). Nothing is
    pulled. With O(run_parser) an image of which nothing was kept is asked.
  - >-
    For that a container prints what the parser of the image has, without a GPU, a network or capabilities, with limits
    of time and memory, and is removed whatever it does. Where little memory is free, it is not started.
  - This module keeps nothing by itself; RV(note) is what is to be kept, by the ID of the image.
  - Needs root.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.docker
options:
  image:
    description:
      - The image, by name. Where it is not there, what C(engine_serve) has built from it is read.
      - Where neither is, or no Docker answers, RV(facts) are empty.
    type: str
    required: true
  instance:
    description: The name of the serving beside whose state it is kept, where the Sparks have several.
    type: str
    default: ""
  run_parser:
    description: Whether a container may be started to print what the parser has.
    type: bool
    default: false
  timeout:
    description: Seconds that it may take.
    type: int
    default: 180
  memory_mib:
    description: MiB that it may take.
    type: int
    default: 4096
  floor_mib:
    description: >-
      MiB that the host must have available beside that, as the supervisor of a serving asks for; of a host with less
      memory than a Spark of 128 GB the same share.
    type: int
    default: 8192
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read which flags the image takes
  sparkops.dgx_spark.vllm_image_info:
    image: vllm/vllm-openai:v0.28.0
  become: true
  register: image
"""

RETURN = r"""
facts:
  description: What the image says of itself, empty where it is not on the host.
  returned: success
  type: dict
  contains:
    image_id:
      description: The ID of the image.
      type: str
    version:
      description: The version of vLLM, empty where it did not say.
      type: str
      sample: 0.32.0
    package:
      description: Empty, since no file is read.
      type: str
    flags:
      description: >-
        By long name without dashes, the C(kind), the C(choices), other names (C(short)) and the words that it takes for
        a number (C(words)) of each flag of C(vllm serve); null where the image was not asked, or did not say.
      type: dict
      sample: {"seed": {"kind": "int", "choices": [], "short": [], "words": []}}
    no_flags_because:
      description: Why it did not say, empty where it did.
      type: str
    source:
      description: V(image) where it was asked just now, V(note) where it was kept.
      type: str
noted:
  description: Whether nothing is left to do but to write RV(note), where that is anything, so that it is kept.
  returned: success
  type: bool
note:
  description: >-
    C(directories) and C(files), as M(sparkops.dgx_spark.file_tree) takes them, so that it is kept. Empty where it was
    kept already, and without O(run_parser).
  returned: success
  type: dict
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import SOCKET_OPTION, Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, image_facts, vllm_image
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told

OPTIONS: dict[str, Any] = {
    "image": {"type": "str", "required": True},
    "instance": {"type": "str", "default": ""},
    "run_parser": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 180},
    "memory_mib": {"type": "int", "default": 4096},
    "floor_mib": {"type": "int", "default": 8192},
    **SOCKET_OPTION,
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    asked = module.params
    limits = image_facts.Limits(asked["timeout"], asked["memory_mib"], asked["floor_mib"])
    folder = layout("vllm", asked["instance"])["state_dir"]
    try:
        docker, meminfo = Docker(asked["docker_socket"]), Path(contract.MEMINFO).read_text(encoding="utf-8")
        found = vllm_image.PARSER.look(docker, asked["image"], folder, asked["run_parser"], limits, meminfo)
    except DockerError as error:
        module.fail_json(msg=f"The image {asked['image']} cannot be read: {error}. Nothing was changed.")
    except OSError as error:
        module.fail_json(msg=f"What is kept of images cannot be read: {told(error)}. Nothing was changed.")
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
