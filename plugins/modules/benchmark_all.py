#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_all
short_description: Measure several models, one after the other
version_added: 0.1.0
description:
  - >-
    Has each model serve by the playbook C(switch_model.yml), measures it by C(benchmark.yml), and notes the outcome;
    at the end what served before serves again, or is stopped again. What serves already is measured first, as it
    serves.
  - >-
    The playbooks run as plays of their own on the controller, with the inventory and the options of this one; what
    they say goes into files beside the results. Passwords that were typed reach them through pipes.
  - >-
    Goes on where an earlier call with the same O(name) was interrupted, and waits for one that still runs. A model
    that was measured is not measured again, and one that has failed only with O(retry).
  - >-
    In C(check_mode) it says what would be measured, and about how long that takes, and does nothing. What it returns
    is not printed with C(-v).
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
    details: Nothing is switched and nothing is measured.
  diff_mode:
    support: N/A
    details: What serves at the end is what served before.
  idempotent:
    support: full
    details: What was measured is not measured again.
options:
  named:
    description: Whether the models were asked for by their names; else those that fit are measured, small ones first.
    type: bool
    default: false
  entries:
    description: RV(sparkops.dgx_spark.models_asked#module:entries).
    type: dict
    required: true
  facts:
    description: RV(sparkops.dgx_spark.hf_models_info#module:models).
    type: dict
    required: true
  hosts:
    description: What M(sparkops.dgx_spark.models_host_info) returned, by host, the leader first.
    type: dict
    required: true
  history:
    description: RV(sparkops.dgx_spark.engine_history_info#module:history).
    type: list
    elements: dict
    default: []
  status:
    description: The variable in which each host has what M(sparkops.dgx_spark.engine_status_info) returned.
    type: str
    required: true
  instance:
    description: The instance's name, where there are several. Empty for that without a name.
    type: str
    default: ""
  name:
    description: >-
      Names the benchmark, by which a later call goes on with it. The results are called by it and by the model.
    type: str
    default: all
  directory:
    description: The directory on the controller that has the results.
    type: path
    required: true
  retry:
    description: Whether models that have failed in an earlier call are tried again.
    type: bool
    default: false
  model:
    description: Must be empty, since each model is asked by its own name.
    type: str
    default: ""
  client:
    description: As for M(sparkops.dgx_spark.benchmark_plan), as are the next ones. What it cannot do is refused first.
    type: str
    default: aiperf
  url:
    description: The address of another endpoint.
    type: str
    default: ""
  tokenizer:
    description: A directory on the controller that has a tokenizer for all of them.
    type: str
    default: ""
  extra:
    description: What goes into every request.
    type: dict
    default: {}
  profile:
    description: As for M(sparkops.dgx_spark.benchmark_plan), as are the next ones.
    type: str
    default: quick
  input:
    description: Tokens of a prompt.
    type: raw
  output:
    description: Tokens of an answer.
    type: raw
  depth:
    description: Tokens of a context that all prompts share.
    type: raw
  concurrency:
    description: Requests at once.
    type: raw
  requests:
    description: Requests that are measured.
    type: raw
  requests_each:
    description: Instead of that, for each that runs at once.
    type: raw
  rate:
    description: Requests a second at most.
    type: raw
  runs:
    description: How often each load is measured.
    type: int
    default: 3
  seed:
    description: Of the prompts, and of the order of the loads.
    type: int
    default: 1
  reserve_gb:
    description: GB that are to stay free on each disk.
    type: float
    default: 20
  memory_reserve_mib:
    description: As for M(sparkops.dgx_spark.models_report), as are the next ones.
    type: int
    default: 24576
  memory_floor_mib:
    description: MiB of memory that are to stay available while it serves.
    type: int
    default: 8192
  memory_load_floor_mib:
    description: MiB of memory that are to stay available while it loads.
    type: int
    default: 16384
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Measure one model after the other
  sparkops.dgx_spark.benchmark_all:
    named: true
    entries: "{{ chosen.entries }}"
    facts: "{{ hub.models }}"
    hosts:
      spark1: "{{ hostvars.spark1.disk }}"
      spark2: "{{ hostvars.spark2.disk }}"
    history: "{{ served.history }}"
    status: spark_status
    directory: spark-benchmark
  register: measured
"""

RETURN = r"""
models:
  description: What became of each model, in their order.
  returned: success
  type: list
  elements: dict
  contains:
    model:
      description: Its handle.
      type: str
      sample: openai/gpt-oss-20b
    state:
      description: V(measured), V(failed), V(skipped) or, in C(check_mode), V(to be measured).
      type: str
      sample: measured
    why:
      description: Why it has failed or is skipped; else empty.
      type: str
      sample: ""
    result:
      description: The name of its result, empty for none.
      type: str
      sample: all-openai--gpt-oss-20b
failed:
  description: Which have failed, and why, one sentence each.
  returned: success
  type: list
  elements: str
  sample: []
journal:
  description: The file on the controller in which that is noted.
  returned: success
  type: str
  sample: /home/me/spark-benchmark/all/journal.json
seconds:
  description: About how long what is to be measured takes.
  returned: success
  type: int
  sample: 5400
at:
  description: When that was, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
