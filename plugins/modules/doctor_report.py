#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: doctor_report
short_description: Judge what the Sparks told, and show what is wrong with them
version_added: 0.1.0
description:
  - >-
    Makes the checks of C(docs/troubleshooting.md) on what M(sparkops.dgx_spark.spark_host_info) read of each Spark, and
    shows the findings, the worst first: what was seen where, why it matters, and the mend. What could not be looked at
    is told with its why, and never taken for healthy.
  - >-
    Runs on the controller and asks no host. Writes a file there where that was asked for, which is no change; in
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
  only:
    description: Names of checks that are made. Empty for all.
    type: list
    elements: str
    default: []
  treat:
    description: Names of checks whose findings are to be mended, for RV(treatments).
    type: list
    elements: str
    default: []
  before:
    description: RV(findings) of an earlier look, to tell which are gone.
    type: list
    elements: dict
    default: []
  fail_at:
    description: The mildest severity that RV(failing) names.
    type: str
    choices: [serious, warning, note, never]
    default: serious
  out:
    description: The file on the controller that RV(document) is written to. Empty for none.
    type: str
    default: ""
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Show what is wrong with the Sparks
  sparkops.dgx_spark.doctor_report:
    members: [spark1, spark2]
    register: spark_doctor_read
  register: found
"""

RETURN = r"""
findings:
  description: >-
    What was found, the worst first, each with C(check), C(title), C(hosts), C(severity) (C(serious), C(warning) or
    C(note)), C(class) (C(mend), C(decide) or C(hands)), C(seen), C(why), C(mend), C(treatable) and C(preflight).
  returned: success
  type: list
  elements: dict
not_looked_at:
  description: Checks that could not be made, with C(host), empty for all Sparks, C(checks) and C(why).
  returned: success
  type: list
  elements: dict
failing:
  description: The findings of O(fail_at) and worse, in short.
  returned: success
  type: list
  elements: str
  sample: [serving_gave_up on spark1]
treatments:
  description: By Spark and check, what the mend of each of O(treat) needs to know.
  returned: success
  type: dict
  sample: {"spark1": {"netplan_readable": [{"path": "/etc/netplan/50-cloud-init.yaml"}]}}
changes:
  description: The same by Spark as changes of a plan, with C(name), and C(of) where a mend is of one thing of several.
  returned: success
  type: dict
  sample: {"spark1": [{"name": "Mend netplan_readable", "of": "/etc/netplan/50-cloud-init.yaml"}], "spark2": []}
mended:
  description: The findings of O(before) that are gone, in short.
  returned: success
  type: list
  elements: str
document:
  description: All of it for programs, as it is written to O(out).
  returned: success
  type: dict
lines:
  description: All of it for people.
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
