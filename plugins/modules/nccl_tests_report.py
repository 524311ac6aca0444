#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nccl_tests_report
short_description: Judge a measurement of NCCL, and write its report on the controller
version_added: 0.1.0
description:
  - >-
    Reads what the programs of nccl-tests printed, and NCCL's own lines, and says what is wrong, with the remedy. That
    is TCP in the place of RDMA, a half of the cable that is not used, about half of the bandwidth, a small MTU, wrong
    values, a rank that hangs, and programs that failed.
  - Fails where something is wrong. The report is written all the same.
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
  plan:
    description: What M(sparkops.dgx_spark.nccl_tests_plan) returns.
    type: dict
    required: true
  measured:
    description: What M(sparkops.dgx_spark.nccl_tests_container) returned on the leader for O(ignore:state=ended).
    type: dict
    required: true
  min_busbw:
    description: >-
      GB/s of bus bandwidth that the largest sizes of all_gather must reach; of the other operations nine tenths of it.
      With V(0) it is 21.875, which NVIDIA's own test of two Sparks wants, and 10 on a ring.
    type: float
    default: 0.0
  ring:
    description: Whether the Sparks are cabled as a ring.
    type: bool
    default: false
  require_rdma:
    description: Whether TCP in the place of RDMA is wrong.
    type: bool
    default: true
  stale:
    description: By host the changes of the plan RV(sparkops.dgx_spark.fabric_plan#module:changes), for a note.
    type: dict
    default: {}
  path:
    description: The JSON file on the controller. Empty for none.
    type: str
    default: ""
  plotly:
    description: >-
      The environment of Python's on the controller that has plotly, whose script goes into a page beside the JSON file.
      Empty for no page.
    type: str
    default: ""
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Judge the measurement
  sparkops.dgx_spark.nccl_tests_report:
    plan: "{{ nccl }}"
    measured: "{{ measured }}"
    path: /tmp/nccl.json
"""

RETURN = r"""
outcome:
  description: >-
    V(sound), or what is wrong first, of V(tcp), V(half down), V(mtu), V(slow), V(bad state), V(wrong values), V(hang),
    V(failed) and V(not started).
  returned: success, or when something is wrong
  type: str
  sample: sound
problems:
  description: All that is wrong, each with C(what) and, with the remedy, C(text).
  returned: success, or when something is wrong
  type: list
  elements: dict
doubts:
  description: What is no fault, and worth knowing.
  returned: success, or when something is wrong
  type: list
  elements: str
summary:
  description: >-
    By operation C(busbw), the best of the sizes from 256 MiB on in GB/s, C(wanted), C(latency_us) of the smallest size,
    C(seconds), C(whole) and C(wrong).
  returned: success, or when something is wrong
  type: list
  elements: dict
  sample: [{operation: all_gather, busbw: 22.7, wanted: 21.875, latency_us: 28.1, seconds: 31.0, whole: true, wrong: 0}]
networks:
  description: By node the C(transport) and the C(devices) that NCCL named, and C(why) where it is not RDMA.
  returned: success, or when something is wrong
  type: dict
virtual:
  description: Whether one of the hosts is a container or a virtual machine, and so no DGX Spark.
  returned: success, or when something is wrong
  type: bool
files:
  description: What was written on the controller.
  returned: success, or when something is wrong
  type: list
  elements: str
text:
  description: The report in some lines.
  returned: success, or when something is wrong
  type: list
  elements: str
at:
  description: When it was judged, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
