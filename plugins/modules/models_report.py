#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: models_report
short_description: Report which models a cluster can serve, as text, JSON and a page
version_added: 0.1.0
description:
  - >-
    Says of each model whether it fits the memory and the disks of all members together, and why not; how many tokens
    its KV cache holds; how fast it decodes at most; how long it takes to have it on every member; what is cached where.
  - >-
    Runs on the controller and asks no host. Writes C(models.html), C(models.json) and C(models.txt) there, which is no
    change. In C(check_mode) nothing is written. What it returns is not printed with C(-v).
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  entries:
    description: RV(sparkops.dgx_spark.models_asked#module:entries).
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
  out:
    description: The directory on the controller that the files are written to; empty for none.
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
  efficiency:
    description: The share of the memory's speed that a decoding engine is taken to get.
    type: float
    default: 0.6
  download_mb_s:
    description: MB/s of a download; V(0) for what was measured, or 50 where nothing was.
    type: float
    default: 0
  copy_mb_s:
    description: MB/s of a copy from member to member; V(0) for what was measured, or 1000 where nothing was.
    type: float
    default: 0
  reserve_gb:
    description: GB that are to stay free on each disk.
    type: float
    default: 20
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
- name: Report on the chosen models
  sparkops.dgx_spark.models_report:
    entries: "{{ chosen.entries }}"
    facts: "{{ asked.models }}"
    members: {"spark1": "{{ host }}"}
    out: spark-models
"""

RETURN = r"""
table:
  description: The report as lines of ASCII, 140 characters wide at most.
  returned: success
  type: list
  elements: str
models:
  description: >-
    All that is told of each model, those that fit first: C(handle), C(answer) (C(fits), C(cannot_tell) or C(does_not)),
    C(reasons), C(would_fit), C(bytes), C(kv_tokens), C(context), C(tokens_s), C(download_s), C(copy_s), C(disks), and
    more.
  returned: success
  type: list
  elements: dict
files:
  description: The files that were written on the controller.
  returned: success
  type: list
  elements: str
  sample: [/home/me/spark-models/models.html, /home/me/spark-models/models.json, /home/me/spark-models/models.txt]
at:
  description: When the report was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
