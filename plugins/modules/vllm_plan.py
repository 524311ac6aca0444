#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_plan
short_description: Plan the configuration of vLLM to serve a model
version_added: 0.1.0
description:
  - >-
    Computes the command line and the environment of vLLM, and refuses what would only fail minutes into a start, such
    as a misspelt argument or a tensor parallel size that the Sparks cannot fill.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.engine_plan
  - sparkops.dgx_spark.engine_plan.every_node
options:
  arguments:
    description:
      - Flags of C(vllm serve) by name, without dashes. Underscores stand for dashes, as they do to vLLM itself.
      - >-
        True and false for one that has a contrary, a mapping for one that takes JSON, a list for one that takes several
        words; null to leave one out. What the role or the supervisor says itself is refused, and secrets are.
    type: dict
    default: {}
  alias:
    description: >-
      Another name for the model, beside C(repo) or C(served_model_name), since vLLM refuses names that it does not
      know.
    type: str
    default: ""
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan a single Spark
  sparkops.dgx_spark.vllm_plan:
    members: [spark1]
    model:
      repo: openai/gpt-oss-20b
      snapshot: /home/nvidia/.cache/huggingface/hub/models--openai--gpt-oss-20b/snapshots/0123456789abcdef
      repo_dir: /home/nvidia/.cache/huggingface/hub/models--openai--gpt-oss-20b
    arguments: {max_num_seqs: 32}
  register: planned
"""

RETURN = r"""
engine:
  description: What M(sparkops.dgx_spark.engine_plan) takes as O(sparkops.dgx_spark.engine_plan#module:engine).
  returned: success
  type: dict
changes:
  description: >-
    For each member a list, empty but for the leader's where it is yet to be kept what the image says of itself: the
    other changes are those of M(sparkops.dgx_spark.engine_plan).
  returned: success
  type: dict
  sample: {"spark1": []}
at:
  description: When it was planned, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
