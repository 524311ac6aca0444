#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build_report
short_description: Report an image that was built from source, and what of it was checked
version_added: 0.1.0
description:
  - Puts together what M(sparkops.dgx_spark.image_build_check) found, and the text that was generated.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  plan:
    description: What M(sparkops.dgx_spark.image_build_plan) returned.
    type: dict
    required: true
  checked:
    description: >-
      What M(sparkops.dgx_spark.image_build_check) returned on this host; empty where the image is not to be here.
    type: dict
    default: {}
  tried:
    description: >-
      What M(sparkops.dgx_spark.engine_quickstart_check) returned on the leader; empty where nothing was tried.
    type: dict
    default: {}
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Report the image
  sparkops.dgx_spark.image_build_report:
    plan: "{{ planned }}"
    checked: "{{ checked }}"
"""

RETURN = r"""
image:
  description: What the image is called.
  returned: success
  type: str
  sample: dgx-spark/tensorrt-llm/release:commit-0123456789ab
id:
  description: Its ID, empty where the image is not to be on this host.
  returned: success
  type: str
commit:
  description: The commit that it was built from.
  returned: success
  type: str
archs:
  description: CUDA_ARCHS of the build.
  returned: success
  type: str
  sample: 120-real
version:
  description: The version of TensorRT-LLM, on the leader.
  returned: where the image is
  type: str
  sample: 1.4.0rc1
architectures:
  description: By library the code that it has, on the leader.
  returned: where the image is
  type: dict
without:
  description: The libraries that have code for GPUs, and none that runs on a GB10.
  returned: where the image is
  type: list
  elements: str
engines:
  description: Why the image has no C(trtllm-build), empty where it has.
  returned: where the image is
  type: str
text:
  description: The text that was generated, empty where none was asked for.
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
  description: When it was reported, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
