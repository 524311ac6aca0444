#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: trtllm_image_info
short_description: Tell which flags and keys an image of TensorRT-LLM takes
version_added: 0.1.0
description:
  - >-
    Reads out of an image on the host the version of TensorRT-LLM, the JSON schema of its options where it carries one,
    as images from the end of 1.3 on do, and with O(run_help) the flags of C(trtllm-serve). Nothing is pulled.
  - >-
    The files are read by a container that is created, never started, and removed. With O(run_help) a second one prints
    C(trtllm-serve serve --help), without a GPU, a network or capabilities, with limits of time and memory, and is
    removed whatever it does. Where little memory is free, it is not started.
  - >-
    What was kept of the image, with the state of O(instance), is returned as it is, without a container. This module
    keeps nothing by itself; RV(note) is what is to be kept.
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
  run_help:
    description: Whether a container may be started to print the help.
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
- name: Read which flags and keys the image takes
  sparkops.dgx_spark.trtllm_image_info:
    image: nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13
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
      description: The version of TensorRT-LLM, empty where the package was not found.
      type: str
      sample: 1.4.0rc0
    package:
      description: The directory of the package in the image, empty where it was not found.
      type: str
      sample: /usr/local/lib/python3.12/dist-packages/tensorrt_llm
    schema:
      description: The JSON schema of the options, without what only people read; null where the image has none.
      type: dict
    flags:
      description: >-
        By name without dashes, the C(kind) and the C(choices) of each flag of C(trtllm-serve); null where no help was
        read.
      type: dict
      sample: {"tp_size": {"kind": "int", "choices": []}}
    no_flags_because:
      description: Why no help was read, empty where it was.
      type: str
    source:
      description: V(image) where it was read just now, V(note) where it was kept.
      type: str
noted:
  description: Whether nothing is left to do but to write RV(note), where that is anything, so that it is kept.
  returned: success
  type: bool
note:
  description: >-
    C(directories) and C(files), as M(sparkops.dgx_spark.file_tree) takes them, so that it is kept. Empty where it was
    kept already, and without O(run_help).
  returned: success
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import SOCKET_OPTION, Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import image_facts, trtllm_image
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told

OPTIONS: dict[str, Any] = {
    "image": {"type": "str", "required": True},
    "instance": {"type": "str", "default": ""},
    "run_help": {"type": "bool", "default": False},
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
    folder = layout("trtllm", asked["instance"])["state_dir"]
    try:
        docker = Docker(asked["docker_socket"])
        found = trtllm_image.look(docker, asked["image"], folder, asked["run_help"], limits)
    except DockerError as error:
        module.fail_json(msg=f"The image {asked['image']} cannot be read: {error}. Nothing was changed.")
    except OSError as error:
        module.fail_json(msg=f"What is kept of images cannot be read: {told(error)}. Nothing was changed.")
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
