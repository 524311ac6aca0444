#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_run
short_description: Measure an endpoint
version_added: 0.1.0
description:
  - >-
    Runs a client once for each run of each load, and judges each request: a run is good where all requests were
    answered, without an error, by as many tokens as were asked for. Figures of other runs are not told.
  - >-
    AIPerf runs on the controller. Where the endpoint is one of the host's own addresses, and the host is reached by
    ssh, a tunnel leads there, whose login must need no password.
  - >-
    With O(client=image) TensorRT-LLM's C(benchmark_serving) runs on the host, in a container of the image that serves,
    with a limit of memory and without a GPU. It ends where this module does, also by Ctrl-C, and nothing of it is left
    there. Needs root.
  - >-
    Each run is written at once; a call with the same O(out) goes on after those that were good. In C(check_mode)
    nothing is measured. What it returns is not printed with C(-v).
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
    details: Nothing is measured.
  diff_mode:
    support: N/A
    details: A measurement is no change.
  idempotent:
    support: full
    details: A measurement is no change, and a run that was good is not measured again.
options:
  endpoint:
    description: As RV(sparkops.dgx_spark.benchmark_plan#module:endpoint) has it.
    type: dict
    required: true
  model:
    description: The name that requests give the model.
    type: str
    required: true
  client:
    description: As for M(sparkops.dgx_spark.benchmark_plan).
    type: str
    default: aiperf
  tokenizer:
    description: A directory on the controller that has the model's tokenizer. Wanted by O(client=aiperf).
    type: path
  environment:
    description: The environment of Python's on the controller that has AIPerf. Wanted by O(client=aiperf).
    type: path
  serving:
    description: >-
      As RV(sparkops.dgx_spark.benchmark_plan#module:serving) has it. Wanted by O(client=image).
    type: dict
    default: {}
  client_gpu:
    description: >-
      Whether the container of O(client=image) sees the GPU beside the engine, for an image whose client does not begin
      without one.
    type: bool
    default: false
  meminfo:
    description: The file that tells the host's memory.
    type: path
    default: /proc/meminfo
  cells:
    description: The loads, as RV(sparkops.dgx_spark.benchmark_plan#module:cells) has them.
    type: list
    elements: dict
    required: true
  runs:
    description: How often each load is measured.
    type: int
    default: 3
  seed:
    description: Of the prompts, and of the order of the loads.
    type: int
    default: 1
  api_key:
    description: The key that the endpoint asks for, as a bearer token. It is in no command line and in no file.
    type: str
    default: ""
  extra:
    description: What goes into every request beside C(ignore_eos).
    type: dict
    default: {}
  bust_cache:
    description: >-
      Whether every prompt begins with a word of its own, so that a cache of prefixes has none of an earlier benchmark.
      With O(client=image), whether each call takes another seed for that.
    type: bool
    default: true
  request_seconds:
    description: >-
      After how many seconds a request has failed. With O(client=image) none fails by itself; a run is given up when all
      of its requests would have taken so long.
    type: int
    default: 600
  slo:
    description: As RV(sparkops.dgx_spark.benchmark_plan#module:head) has it in C(slo).
    type: dict
    default: {}
  head:
    description: As RV(sparkops.dgx_spark.benchmark_plan#module:head) has it.
    type: dict
    default: {}
  out:
    description: >-
      The file on the controller that the result is written to. What the client exports lies beside it, in a directory
      of the same name.
    type: path
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Measure the endpoint
  sparkops.dgx_spark.benchmark_run:
    endpoint: "{{ planned.endpoint }}"
    model: "{{ planned.head.model.name }}"
    tokenizer: "{{ tokenizer.directory }}"
    environment: ~/.cache/dgx-spark/aiperf
    cells: "{{ planned.cells }}"
    head: "{{ planned.head }}"
    out: spark-benchmark/{{ planned.head.name }}.json
  register: measured
"""

RETURN = r"""
document:
  description: The result, C(docs/benchmark.schema.json) has its shape; empty in C(check_mode).
  returned: success
  type: dict
file:
  description: Where it was written on the controller; empty in C(check_mode).
  returned: success
  type: str
  sample: /home/me/spark-benchmark/openai--gpt-oss-20b-2-quick-20261130T120000Z.json
measured:
  description: How many runs were measured just now.
  returned: success
  type: int
  sample: 3
good:
  description: Whether every run is good.
  returned: success
  type: bool
problems:
  description: What is wrong with runs, one sentence each.
  returned: success
  type: list
  elements: str
  sample: ["i128-o128-c1, run 1: 3 of 10 requests: 503 Service Unavailable: too busy"]
mend:
  description: What to do; empty where all is good.
  returned: success
  type: str
at:
  description: When that was, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
