#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_report
short_description: Say whether a model can be served now
version_added: 0.1.0
description:
  - >-
    Answers V(ready), V(ready but slow) or V(blocked), with a line for each thing that the answer rests on, which says
    the Spark, what was seen there, and what to do. It judges by those checks of the doctor that count for a serving, by
    what the plans of the roles will bring, and by what they refuse.
  - >-
    What could not be looked at or planned is told, and makes no answer complete. Shows what each Spark is as well. Runs
    on the controller and asks no host. Writes a file there where that was asked for, which is no change; in
    C(check_mode) nothing is written.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  members:
    description: The names of all Sparks, in rank order.
    type: list
    elements: str
    required: true
  register:
    description: The variable of each Spark that holds what M(sparkops.dgx_spark.spark_host_info) returned.
    type: str
    required: true
  hub:
    description: >-
      The variable of the leader that holds what M(sparkops.dgx_spark.hf_models_info) returned. Empty for none.
    type: str
    default: ""
  repo:
    description: The model that is to be served. Empty where none is named, so that only the Sparks are judged.
    type: str
    default: ""
  model:
    description: What M(sparkops.dgx_spark.hf_cache_plan) returned. Empty where nothing was planned.
    type: dict
    default: {}
  serve:
    description: What M(sparkops.dgx_spark.engine_plan) returned. Empty where nothing was planned.
    type: dict
    default: {}
  refusals:
    description: By Spark why a plan was refused, a sentence or a list of them.
    type: dict
    default: {}
  root_wanted:
    description: Whether the Sparks were to be read as root. Otherwise it blocks nothing that they were read without.
    type: bool
    default: true
  out:
    description: The file on the controller that the answer is written to. Empty for none.
    type: str
    default: ""
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Say whether the model can be served
  sparkops.dgx_spark.preflight_report:
    members: [spark1, spark2]
    register: spark_doctor_read
    repo: openai/gpt-oss-20b
    model: "{{ hf_cache_plan }}"
    serve: "{{ engine_serve_plan }}"
  register: answer
"""

RETURN = r"""
answer:
  description: V(ready), V(ready but slow) or V(blocked).
  returned: success
  type: str
  sample: ready but slow
complete:
  description: Whether all checks that can block could be made.
  returned: success
  type: bool
bytes:
  description: How many bytes of the model and of the image have to move, over all Sparks.
  returned: success
  type: int
  sample: 134200000000
lines:
  description: >-
    What the answer rests on, each with C(host), C(seen), C(do) and C(kind), which is V(blocked), V(slow) or V(told).
  returned: success
  type: list
  elements: dict
hosts:
  description: What each Spark that answered is, such as its C(memory_mib), C(driver) and C(leases) of a DHCP server.
  returned: success
  type: dict
blocking:
  description: The Sparks and what was seen there, of the lines that block.
  returned: success
  type: list
  elements: str
schema:
  description: The number of this form of O(out)'s file.
  returned: success
  type: int
words:
  description: The same as lines of text.
  returned: success
  type: list
  elements: str
file:
  description: The file that was written, empty for none.
  returned: success
  type: str
at:
  description: When it was judged, in seconds since the epoch.
  returned: success
  type: float
"""
