#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_engine_info
short_description: Tell by which commands engines are built with trtllm-build, or why an image cannot build any
version_added: 0.1.0
description:
  - >-
    Looks into an image, without starting it, for C(trtllm-build) and the program that converts a checkpoint. Images
    after 1.3.0rc20, the last version with the TensorRT backend, have neither, and are refused with that reason.
  - Refuses arguments that no C(trtllm-build) takes, and a model that is not there.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.docker
options:
  image:
    description: The image, by name or ID. It has to be on the host.
    type: str
    required: true
  model:
    description: A directory of the host that has a Hugging Face checkpoint.
    type: path
    required: true
  out:
    description: The directory of the host that gets C(checkpoint) and C(engine).
    type: path
    required: true
  convert:
    description: The program of the image that converts such a model.
    type: str
    default: /app/tensorrt_llm/examples/models/core/llama/convert_checkpoint.py
  ranks:
    description: For how many ranks, each with an engine of its own.
    type: int
    default: 1
  dtype:
    description: The type of the weights.
    type: str
    default: bfloat16
  convert_arguments:
    description: Further arguments of O(convert).
    type: list
    elements: str
    default: []
  arguments:
    description: Further arguments of C(trtllm-build), such as V(--max_seq_len=4096).
    type: list
    elements: str
    default: []
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read by which commands engines are built
  sparkops.dgx_spark.image_engine_info:
    image: nvcr.io/nvidia/tensorrt-llm/release:1.2.1
    model: /data/llama
    out: /data/llama-engines
    arguments: ["--max_seq_len=4096"]
  become: true
  register: engines
"""

RETURN = r"""
request:
  description: What M(sparkops.dgx_spark.image_build_unit) is told.
  returned: success
  type: dict
version:
  description: The version of TensorRT-LLM in the image.
  returned: success
  type: str
  sample: 1.2.1
lacking:
  description: The files of the engines that are not there yet.
  returned: success
  type: list
  elements: str
  sample: [config.json, rank0.engine]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import engines, images
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import SOCKET_OPTION, Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told

OTHERS = ("docker_socket",)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str", "required": True},
            "model": {"type": "path", "required": True},
            "out": {"type": "path", "required": True},
            "convert": {"type": "str", "default": "/app/tensorrt_llm/examples/models/core/llama/convert_checkpoint.py"},
            "ranks": {"type": "int", "default": 1},
            "dtype": {"type": "str", "default": "bfloat16"},
            "convert_arguments": {"type": "list", "elements": "str", "default": []},
            "arguments": {"type": "list", "elements": "str", "default": []},
            **SOCKET_OPTION,
        },
        supports_check_mode=True,
    )
    asked = module.params
    wanted = engines.Wanted(**{name: value for name, value in asked.items() if name not in OTHERS})
    try:
        request = engines.request(wanted)
        version, problem = images.engines_of(Docker(asked["docker_socket"]), wanted.image, wanted.convert)
        if problem:
            raise engines.EngineError(f"{wanted.image} builds no engines: {problem}")
        if not (Path(wanted.model) / "config.json").is_file():
            raise engines.EngineError(f"{wanted.model} has no config.json: name a directory with a checkpoint")
    except (engines.EngineError, DockerError, OSError) as error:
        module.fail_json(msg=f"{told(error)}. Nothing was changed.")
    lacking = engines.lacking(wanted.out, wanted.ranks)
    module.exit_json(changed=False, request=request, version=version, lacking=lacking)


if __name__ == "__main__":
    main()
