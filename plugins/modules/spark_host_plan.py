#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: spark_host_plan
short_description: Plan what every host is to have of the role spark_host
version_added: 0.1.0
description:
  - >-
    Compares what M(sparkops.dgx_spark.spark_host_settings_info) found on the members with what is asked of each, and
    lists the changes.
  - Fails, with nothing changed, where a host cannot be so, such as where the user of the play has no authorized key.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  members:
    description: The members, the leader first.
    type: list
    elements: str
    required: true
  register:
    description: The variable that M(sparkops.dgx_spark.spark_host_settings_info) registered on the members.
    type: str
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan the parts of the hosts
  sparkops.dgx_spark.spark_host_plan:
    members: [spark1]
    register: settings
  register: planned
"""

RETURN = r"""
changes:
  description: By name the changes, each with C(name) and, where a text changes, C(diff), in the order of the apply.
  returned: success
  type: dict
  sample: {spark1: [{name: Restrict logins by ssh to keys}]}
hosts:
  description: >-
    By member what is written, installed and verified: C(name), C(names), C(packages), C(files), C(surplus),
    C(surplus_records), C(reload), C(parts), C(sshd), C(sshd_drop_in), C(banaction), C(held) and more.
  returned: success
  type: dict
at:
  description: When it was planned, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
