#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: doctor_bundle
short_description: Write an archive without secrets for a bug report
version_added: 0.1.0
description:
  - >-
    Packs what M(sparkops.dgx_spark.spark_host_info) read of each Spark, the last lines of the logs of serving
    containers, and what M(sparkops.dgx_spark.doctor_report) found, into C(doctor-DATE-TIME.tar.gz) on the controller,
    which its owner alone can read.
  - >-
    Takes out tokens, keys, passwords, whatever is named like one of these, the passwords, tokens and addresses of
    alerts that Ansible was given for O(members), and O(secrets); and makes machine IDs, hardware addresses and UUIDs
    of GPUs unknown. Asks no host. In C(check_mode) nothing is written.
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
  document:
    description: RV(sparkops.dgx_spark.doctor_report#module:document).
    type: dict
    required: true
  lines:
    description: RV(sparkops.dgx_spark.doctor_report#module:lines).
    type: list
    elements: str
    default: []
  secrets:
    description: >-
      What else must not be in the archive, wherever it stands. Those of fewer than six characters are left out.
    type: list
    elements: str
    default: []
  out:
    description: The directory on the controller.
    type: str
    default: .
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Write an archive for a bug report
  sparkops.dgx_spark.doctor_bundle:
    members: [spark1, spark2]
    register: spark_doctor_read
    document: "{{ found.document }}"
    lines: "{{ found.lines }}"
"""

RETURN = r"""
path:
  description: The archive.
  returned: success
  type: str
  sample: /home/me/doctor-20261130-094100.tar.gz
files:
  description: The names of the files in it.
  returned: success
  type: list
  elements: str
at:
  description: When it was made, in seconds since the epoch.
  returned: success
  type: float
"""
