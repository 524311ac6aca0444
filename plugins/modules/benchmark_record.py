#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_record
short_description: Record the state of Sparks after a benchmark
version_added: 0.1.0
description:
  - >-
    Adds temperatures, power, clocks and memory after a benchmark to its result, and whether the engine was started or
    configured anew meanwhile; then the result is not good.
  - Runs on the controller and asks no host. Writing the file is no change.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
    details: In check mode nothing is written.
  diff_mode:
    support: N/A
    details: A record of a measurement is no change.
  idempotent:
    support: full
    details: A record of a measurement is no change.
options:
  file:
    description: The result, as M(sparkops.dgx_spark.benchmark_run) has written it.
    type: path
    required: true
  members:
    description: The hosts, as the inventory names them.
    type: list
    elements: str
    required: true
  status:
    description: The variable in which each host has what M(sparkops.dgx_spark.engine_status_info) returned.
    type: str
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Record the state of the Sparks after the benchmark
  sparkops.dgx_spark.benchmark_record:
    file: "{{ measured.file }}"
    members: [spark1, spark2]
    status: spark_status_after
"""

RETURN = r"""
good:
  description: Whether every run is good, and the engine was left alone.
  returned: success
  type: bool
meanwhile:
  description: What happened to the engine, one sentence each.
  returned: success
  type: list
  elements: str
at:
  description: When that was, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
