#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_cache_report
short_description: Report whether a Spark has the planned model
version_added: 0.1.0
description:
  - >-
    Fails where the plan still lists changes for this host that were not made, or where the model, or one beside it, was
    not verified.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  plan:
    description: The plan, as M(sparkops.dgx_spark.hf_cache_plan) returned.
    type: dict
    required: true
  verified:
    description:
      - What M(sparkops.dgx_spark.hf_cache_verify) returned on this host.
      - Not needed where the plan found the model complete, since that was seen by hash.
    type: dict
    default: {}
  applied:
    description: Whether the planned changes have been made.
    type: bool
    default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Report the model
  sparkops.dgx_spark.hf_cache_report:
    plan: "{{ hf_cache_plan }}"
  register: model_report
"""

RETURN = r"""
repo:
  description: The repository.
  returned: success
  type: str
  sample: nvidia/Qwen3-235B-A22B-FP4
commit:
  description: The commit.
  returned: success
  type: str
  sample: b6c1d4f3c1f2f7d1c3e0a3f9ab0d43f3f8f0c5d7
repo_dir:
  description: The repository's directory in this host's cache.
  returned: success
  type: str
  sample: /home/nvidia/.cache/huggingface/hub/models--nvidia--Qwen3-235B-A22B-FP4
snapshot:
  description: The directory of the commit.
  returned: success
  type: str
  sample: /data/hf/hub/models--nvidia--Qwen3-235B-A22B-FP4/snapshots/b6c1d4f3c1f2f7d1c3e0a3f9ab0d43f3f8f0c5d7
files:
  description: How many files the model has.
  returned: success
  type: int
  sample: 38
bytes:
  description: Bytes of all files.
  returned: success
  type: int
  sample: 134217728000
beside:
  description: The same, from RV(repo) to RV(bytes), of each model beside this one.
  returned: success
  type: list
  elements: dict
at:
  description: When the report was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
