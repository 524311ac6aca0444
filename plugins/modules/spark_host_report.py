#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: spark_host_report
short_description: Report what was verified of the hosts
version_added: 0.1.0
description:
  - Gathers what M(sparkops.dgx_spark.spark_host_check) has seen on all members.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  plan:
    description: What M(sparkops.dgx_spark.spark_host_plan) returned.
    type: dict
    required: true
  register:
    description: The variable that M(sparkops.dgx_spark.spark_host_check) registered on the members.
    type: str
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Report what was verified
  sparkops.dgx_spark.spark_host_report:
    plan: "{{ planned }}"
    register: checked
  register: report
"""

RETURN = r"""
checks:
  description: By member, and by part, what was seen.
  returned: success
  type: dict
  sample: {spark1: {ipc: shared memory stays when a user logs out}}
at:
  description: When it was reported, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
