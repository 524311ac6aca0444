#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_report
short_description: Show results of benchmarks beside each other
version_added: 0.1.0
description:
  - >-
    Reads the results that M(sparkops.dgx_spark.benchmark_run) has written, shows them beside each other with the
    differences that exceed the spread of their runs, and writes C(benchmark.html), C(benchmark.json),
    C(benchmark.csv) and C(benchmark.md) beside them.
  - >-
    Results of virtual Sparks are not shown with those of others.
  - >-
    Runs on the controller and asks no host. Writing the files is no change. In C(check_mode) they are not written. What
    it returns is not printed with C(-v).
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  directory:
    description: The directory on the controller that has the results.
    type: path
    required: true
  results:
    description: Names of results, or parts of names. Empty for all.
    type: list
    elements: str
    default: []
  baseline:
    description: The name of the result that all others are compared with. Empty for the oldest.
    type: str
    default: ""
  plotly:
    description: The environment of Python's on the controller that has plotly, whose script goes into the page.
    type: path
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Show what another version of the engine made of it
  sparkops.dgx_spark.benchmark_report:
    directory: spark-benchmark
    results: [gpt-oss-20b]
    plotly: ~/.cache/dgx-spark/plotly
"""

RETURN = r"""
results:
  description: The names of the results, the oldest first.
  returned: success
  type: list
  elements: str
baseline:
  description: The name of the one that all others are compared with.
  returned: success
  type: str
lines:
  description: What was shown.
  returned: success
  type: list
  elements: str
files:
  description: The files that were written on the controller.
  returned: success
  type: list
  elements: str
  sample: [/home/me/spark-benchmark/benchmark.html, /home/me/spark-benchmark/benchmark.json]
at:
  description: When that was, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
