#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_status_report
short_description: Show how Sparks and all that they serve are doing
version_added: 0.1.0
description:
  - >-
    Judges what M(sparkops.dgx_spark.engine_status_info) read on each host, shows it as a table with what is wrong
    first, and writes it as JSON, whose shape C(docs/status.schema.json) has.
  - >-
    Runs on the controller and asks no host. The table is as wide as the terminal, and coloured as Ansible is configured
    to. Writing the file is no change. In C(check_mode) it is not written. What it returns is not printed with C(-v).
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
    description: >-
      The variable in which each host has what M(sparkops.dgx_spark.engine_status_info) returned; a host that did not
      answer has there what Ansible registered instead.
    type: str
    required: true
  out:
    description: The file on the controller that the JSON is written to; empty for none.
    type: str
    default: ""
  page:
    description: The file on the controller that the table is written to as a page of HTML; empty for none.
    type: str
    default: ""
  fail_at:
    description: >-
      Which anomalies RV(failing) names, V(serious) ones, V(warning) for warnings too, or none. The task itself never
      fails for what it shows.
    type: str
    choices: [never, serious, warning]
    default: never
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Show how the Sparks are doing
  sparkops.dgx_spark.engine_status_report:
    members: [spark1, spark2]
    register: status
    out: status.json
"""

RETURN = r"""
document:
  description: >-
    All of it, with C(class) (C(good), C(note), C(warning) or C(serious)), C(anomalies), C(hosts), C(instances) and
    C(swarm).
  returned: success
  type: dict
lines:
  description: The table as it was shown.
  returned: success
  type: list
  elements: str
failing:
  description: The anomalies with which a run is to fail, one sentence each, as O(fail_at) says.
  returned: success
  type: list
  elements: str
  sample: ["spark2: rank 1 does not run: its container is exited (137)"]
file:
  description: The file that was written on the controller; empty for none.
  returned: success
  type: str
  sample: /home/me/status.json
page:
  description: The page that was written on the controller; empty for none.
  returned: success
  type: str
  sample: /home/me/status.html
at:
  description: When the report was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
