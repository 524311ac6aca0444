#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_validation_report
short_description: Write the report of a validation
version_added: 0.1.0
description:
  - Writes what a validation found on the controller, as JSON and, beside it, as a short text.
  - Asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: none
options:
  path:
    description: The JSON file on the controller. The text gets the ending C(.txt).
    type: path
    required: true
  facts:
    description: >-
      What was validated: C(model) with C(repo) and C(commit), C(nodes), C(image), C(ranks) with their transports, and
      by host in C(nccl) the NCCL libraries.
    type: dict
    required: true
  asked:
    description: Which parts were to be done. One that did not run, for whatever reason, has not passed.
    type: list
    elements: str
    choices: [gpu, import, text, vision, lora, accuracy, soak]
    required: true
  parts:
    description: What each part's task registered, by the part's name and then by host.
    type: dict
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Write the report
  sparkops.dgx_spark.engine_validation_report:
    path: /tmp/validation.json
    facts:
      model: {repo: openai/gpt-oss-120b, commit: b5c939de}
      nodes: [spark1]
      image: nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13
    asked: [accuracy]
    parts:
      accuracy:
        spark1: "{{ accuracy }}"
"""

RETURN = r"""
path:
  description: The JSON file.
  returned: success
  type: str
text:
  description: The report in some lines.
  returned: success
  type: list
  elements: str
at:
  description: When it was written, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
