#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_log_report
short_description: Show the logs of all ranks in one view, in the order of their times
version_added: 0.1.0
description:
  - Takes what M(sparkops.dgx_spark.engine_log_info) read on the hosts, and prints it as it is.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  members:
    description: The hosts, as the inventory names them.
    type: list
    elements: str
    required: true
  register:
    description: The variable that M(sparkops.dgx_spark.engine_log_info) registered on the hosts.
    type: str
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Show the logs of all ranks
  sparkops.dgx_spark.engine_log_report:
    members: [spark1, spark2]
    register: said
"""

RETURN = r"""
lines:
  description: What was shown.
  returned: success
  type: list
  elements: str
  sample: ["22:10:11.123 spark2 trtllm | ready"]
at:
  description: When it was shown, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
