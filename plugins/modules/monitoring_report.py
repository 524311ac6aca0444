#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_report
short_description: Report to every member how the Sparks are watched
version_added: 0.1.0
description:
  - Takes what M(sparkops.dgx_spark.monitoring_check) found on the members to every member.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  plan:
    description: What M(sparkops.dgx_spark.monitoring_plan) returned.
    type: dict
    required: true
  register:
    description: The variable that M(sparkops.dgx_spark.monitoring_check) registered on the members.
    type: str
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Report the monitoring
  sparkops.dgx_spark.monitoring_report:
    plan: {changes: {spark1: []}, enabled: false, leader: spark1}
    register: monitoring_checked
"""

RETURN = r"""
enabled:
  description: Whether there is a monitoring.
  returned: success
  type: bool
  sample: true
prometheus:
  description: Where Prometheus is. Empty without one.
  returned: success
  type: str
  sample: http://127.0.0.1:9090
alerts:
  description: Where Alertmanager is, on the leader. Empty without one.
  returned: success
  type: str
  sample: http://127.0.0.1:9093
grafana:
  description: Where Grafana is, on the leader. Empty without one.
  returned: success
  type: str
  sample: http://127.0.0.1:3000
receivers:
  description: By what ways alerts go to people.
  returned: success
  type: list
  elements: str
  sample: [webhook]
firing:
  description: The alerts that fire now.
  returned: success
  type: list
  elements: str
  sample: []
checks:
  description: By member what was seen.
  returned: success
  type: dict
  sample: {spark1: [Prometheus reads 4 targets]}
exposed:
  description: Who reaches what, where ufw is off.
  returned: success
  type: list
  elements: str
at:
  description: When it was reported, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
