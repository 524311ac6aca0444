#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_plan
short_description: Plan a benchmark of what is served
version_added: 0.1.0
description:
  - >-
    Works out which loads a benchmark measures, in which order, about how long that takes, whom it asks, and what is
    known of the Sparks before it. It shows the plan.
  - Runs on the controller and asks no host. What it returns is not printed with C(-v).
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  profile:
    description:
      - >-
        What is sent: V(quick), V(short), V(medium), V(long), V(throughput), V(latency), V(stress), V(community), or
        V(custom), which has O(input), O(output) and O(requests) given.
      - The options below it replace what the profile says.
    type: str
    default: quick
  input:
    description: Tokens of a prompt; with commas, or as a list, a sweep.
    type: raw
  output:
    description: Tokens of an answer; with commas, or as a list, a sweep.
    type: raw
  depth:
    description: Tokens of a context that all prompts of a load begin with; with commas, or as a list, a sweep.
    type: raw
  concurrency:
    description: How many requests run at once; with commas, or as a list, a sweep.
    type: raw
  requests:
    description: How many requests are measured, at least one for each that runs at once.
    type: raw
  requests_each:
    description: Instead of O(requests), how many for each that runs at once.
    type: raw
  rate:
    description: Requests a second that are sent at most, 0 for as fast as O(concurrency) lets them.
    type: raw
  runs:
    description: How often each load is measured. One run has no spread, and so nothing to compare by.
    type: int
    default: 3
  seed:
    description: Of the prompts, and of the order of the loads.
    type: int
    default: 1
  slo:
    description: >-
      In ms, what a request must keep to count for the goodput, C(ttft_ms), C(tpot_ms) and C(e2e_ms). Empty for no
      goodput.
    type: dict
    default: {}
  client:
    description:
      - >-
        What measures: V(aiperf), AIPerf on the controller; or V(image), TensorRT-LLM's C(benchmark_serving) in the
        image that serves, on the leader, for which nothing is installed.
      - >-
        With V(image), depths, O(url), O(tokenizer) and what O(extra) has beside C(temperature), C(top_p), C(top_k) and
        C(min_p) are refused.
    type: str
    default: aiperf
  tokenizer:
    description: A directory on the controller that has another tokenizer than the model's. Only judged here.
    type: str
    default: ""
  extra:
    description: What goes into every request. Only judged here.
    type: dict
    default: {}
  url:
    description: >-
      The address of the endpoint, as this controller reaches it. Empty for that of O(instance), over ssh where the
      leader is reached by that.
    type: str
    default: ""
  model:
    description: The name that requests give the model. Empty for that which O(instance) serves.
    type: str
    default: ""
  instance:
    description: The instance's name, where there are several. Empty for that without a name.
    type: str
    default: ""
  members:
    description: The hosts, as the inventory names them.
    type: list
    elements: str
    required: true
  status:
    description: The variable in which each host has what M(sparkops.dgx_spark.engine_status_info) returned.
    type: str
    required: true
  engine:
    description: The variable in which each host has what M(sparkops.dgx_spark.engine_host_info) returned.
    type: str
    required: true
  machine:
    description: >-
      The variable in which each host has what M(ansible.builtin.setup) returned for its subset V(virtual). Figures of
      containers and virtual machines are marked as such.
    type: str
    required: true
  name:
    description: Of the result. Empty for one of model, Sparks, profile and time.
    type: str
    default: ""
  label:
    description: A word for people that the result is shown with, such as what was changed.
    type: str
    default: ""
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan a sweep over how many requests run at once
  sparkops.dgx_spark.benchmark_plan:
    profile: short
    concurrency: [1, 8, 32]
    members: [spark1, spark2]
    status: spark_status
    engine: spark_engine
    machine: spark_machine
  register: planned
"""

RETURN = r"""
cells:
  description: The loads, each with C(input), C(output), C(depth), C(concurrency), C(rate), C(requests) and C(warmup).
  returned: success
  type: list
  elements: dict
head:
  description: What the result tells beside its figures, C(docs/benchmark.schema.json) has its shape.
  returned: success
  type: dict
endpoint:
  description: C(url) as the controller reaches it, or C(host) and C(port) as the leader does.
  returned: success
  type: dict
serving:
  description: >-
    For O(client=image), C(image), the ID of the image that serves, C(commit) of its model, and C(own_code), whether the
    tokenizer may be code of the model's own; else empty.
  returned: success
  type: dict
leader:
  description: The host that serves.
  returned: success
  type: str
  sample: spark1
seconds:
  description: About how long it takes, an order of magnitude.
  returned: success
  type: int
  sample: 180
lines:
  description: The plan as it was shown.
  returned: success
  type: list
  elements: str
at:
  description: When that was, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
