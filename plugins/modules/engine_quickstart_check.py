#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_quickstart_check
short_description: Check that NVIDIA's example programs for TensorRT-LLM generate a text
version_added: 0.1.0
description:
  - >-
    Runs C(quickstart_advanced.py) or C(quickstart_multimodal.py) of TensorRT-LLM's image in a container with the GPU,
    on a model that is in the host's Hugging Face cache. The model is mounted read-only where it is served from, nothing
    is downloaded, and no token is given to the container, which is removed.
  - A vision model gets a picture that this collection draws.
  - >-
    Fails where the program fails, or generates no text. Refuses to load a model beside a serving, and into a host
    without memory for it.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.validation
  - sparkops.dgx_spark.validation.model
options:
  kind:
    description: >-
      V(text) is C(quickstart_advanced.py), V(vision) C(quickstart_multimodal.py) with a picture, V(lora) the same with
      the LoRA of Phi-4-multimodal.
    type: str
    choices: [text, vision, lora]
    default: text
  image:
    description: The image, by name or ID.
    type: str
    required: true
  model:
    description: The model, as V(organisation/name).
    type: str
    required: true
  hub:
    description: The directory of the host that holds models, such as C(~/.cache/huggingface/hub).
    type: path
    required: true
  arguments:
    description: Further arguments of the program, such as V(--trust_remote_code).
    type: list
    elements: str
    default: []
  environment:
    description: >-
      Environment of the container, such as C(TRT_LLM_DISABLE_LOAD_WEIGHTS_IN_PARALLEL). No secret belongs here.
    type: dict
    default: {}
  vocabularies:
    description: A directory of the host that may hold vocabularies (C(*.tiktoken)), which gpt-oss needs.
    type: path
  max_tokens:
    description: The most tokens that are generated.
    type: int
    default: 64
  seconds:
    description: How long it may take, loading included.
    type: int
    default: 3600
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Generate a text
  sparkops.dgx_spark.engine_quickstart_check:
    image: nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13
    model: nvidia/Llama-3.1-8B-Instruct-FP4
    hub: /home/nvidia/.cache/huggingface/hub
  become: true

- name: Describe a picture
  sparkops.dgx_spark.engine_quickstart_check:
    kind: lora
    image: nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13
    model: nvidia/Phi-4-multimodal-instruct-FP4
    hub: /home/nvidia/.cache/huggingface/hub
  become: true
"""

RETURN = r"""
model:
  description: The model.
  returned: always
  type: str
command:
  description: The command that was tried.
  returned: always
  type: list
  elements: str
text:
  description: The text that was generated.
  returned: success
  type: str
  sample: " of its museums."
at:
  description: When it was generated, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
