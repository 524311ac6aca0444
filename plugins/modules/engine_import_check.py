#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_import_check
short_description: Check that TensorRT-LLM can be imported in its image
version_added: 0.1.0
description:
  - >-
    Imports TensorRT-LLM in a container of an image that is on the host, with the GPU, and compares its version with the
    one that the image is taken to have. The container is removed.
  - Fails where it cannot be imported, or has another version, with the last lines that it wrote.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.validation
options:
  image:
    description: The image, by name or ID.
    type: str
    required: true
  version:
    description: >-
      The version that the image is taken to have, as M(sparkops.dgx_spark.trtllm_plan) plans it. Empty for any.
    type: str
    default: ""
  seconds:
    description: How long it may take.
    type: int
    default: 600
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Import TensorRT-LLM
  sparkops.dgx_spark.engine_import_check:
    image: nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13
    version: 1.3.0rc13
  become: true
"""

RETURN = r"""
version:
  description: The version that it has.
  returned: when it could be imported
  type: str
  sample: 1.3.0rc13
at:
  description: When it was imported, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
