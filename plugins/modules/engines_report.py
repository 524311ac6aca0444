#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engines_report
short_description: Report which engines can serve a model on a cluster, and which to try first
version_added: 0.1.0
description:
  - >-
    Says of each engine whether the model fits the memory of all members together, whether it takes the checkpoint's
    format, how tokens can be guessed, and which trouble was reported of such a serving, with sources.
  - >-
    Runs on the controller and asks no host. Writes C(engines.json) there if asked to, which is no change. In
    C(check_mode) nothing is written. What it returns is not printed with C(-v).
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  model:
    description: The model's handle.
    type: str
    required: true
  entries:
    description: RV(sparkops.dgx_spark.models_asked#module:entries), with the model's.
    type: dict
    required: true
  facts:
    description: RV(sparkops.dgx_spark.hf_models_info#module:models).
    type: dict
    required: true
  members:
    description: What M(sparkops.dgx_spark.models_host_info) returned, by host, the leader first.
    type: dict
    required: true
  images:
    description: The image of each engine, by its name; where one is not given, that of its role.
    type: dict
    default: {}
  purpose:
    description: What the choice is for. V(any) for what this collection knows best.
    type: str
    default: any
  out:
    description: The directory on the controller that C(engines.json) is written to; empty for none.
    type: str
    default: ""
  batch:
    description: Sequences at a time.
    type: int
    default: 4
  context:
    description: Tokens that one sequence is to have; V(0) for those of one batch.
    type: int
    default: 0
  memory_reserve_mib:
    description: MiB that a Spark of 128 GB must have available beside its share of the model.
    type: int
    default: 24576
  memory_floor_mib:
    description: MiB that stay available while a model is served, or V(0).
    type: int
    default: 8192
  memory_load_floor_mib:
    description: The same while a model loads.
    type: int
    default: 16384
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Report on the engines
  sparkops.dgx_spark.engines_report:
    model: openai/gpt-oss-20b
    entries: "{{ chosen.entries }}"
    facts: "{{ asked.models }}"
    members: {"spark1": "{{ host }}"}
    purpose: agent
"""

RETURN = r"""
table:
  description: The report as lines of ASCII.
  returned: success
  type: list
  elements: str
engines:
  description: >-
    All that is told of each engine, those to try first before the others: C(engine), C(place) (C(0) for one that cannot
    serve), C(why), C(answer) (C(fits), C(cannot_tell) or C(does_not)), C(reasons), C(would_fit), C(kv_tokens),
    C(context), C(format), C(takes_format), C(draft), C(troubles), C(image) and C(licence).
  returned: success
  type: list
  elements: dict
first:
  description: The engine to try first; empty where none can serve.
  returned: success
  type: str
  sample: trtllm
files:
  description: The files that were written on the controller.
  returned: success
  type: list
  elements: str
  sample: [/home/me/spark-engines/engines.json]
at:
  description: When the report was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
