#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: doctor_asked
short_description: Check which findings of the doctor are to be mended
version_added: 0.1.0
description:
  - >-
    Fails, before anything is changed, where O(treat) or O(only) names a check that there is not, or O(treat) one whose
    findings are not mended by the playbook C(doctor). Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  treat:
    description: Names of checks whose findings are to be mended.
    type: list
    elements: str
    default: []
  only:
    description: Names of checks that are made. Empty for all.
    type: list
    elements: str
    default: []
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Check what is to be mended
  sparkops.dgx_spark.doctor_asked:
    treat: [clock_unsynchronised]
"""

RETURN = r"""
treat:
  description: O(treat), each once.
  returned: success
  type: list
  elements: str
treatable:
  description: All checks whose findings can be mended.
  returned: success
  type: list
  elements: str
at:
  description: When it was checked, in seconds since the epoch.
  returned: success
  type: float
"""
