#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_plan
short_description: Plan the monitoring of all members
version_added: 0.1.0
description:
  - >-
    Compares what M(sparkops.dgx_spark.monitoring_info) found on the members with the monitoring that is asked for, and
    lists the changes.
  - Fails, with nothing changed, where the monitoring cannot be so.
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
  enabled:
    description: Whether there is to be a monitoring. Without one, what is there is to be removed.
    type: bool
    default: false
  register:
    description: The variable that M(sparkops.dgx_spark.monitoring_info) registered on the members.
    type: str
    required: true
  files:
    description: The directory of the role that has the program and the rules.
    type: path
    required: true
  prometheus_port:
    description: The port of Prometheus.
    type: int
    default: 9090
  alertmanager_port:
    description: The port of Alertmanager.
    type: int
    default: 9093
  node_exporter_port:
    description: The port of the node exporters.
    type: int
    default: 9100
  sources:
    description: The addresses and networks, beside the Sparks, that may ask. Empty for none.
    type: list
    elements: str
    default: []
  retention_gb:
    description: How many GB of figures Prometheus keeps.
    type: int
    default: 10
  scrape_seconds:
    description: How often Prometheus asks.
    type: int
    default: 5
  meminfo:
    description: The file that the supervisors read the host's memory from.
    type: path
    default: /proc/meminfo
  webhook_url:
    description: Where Alertmanager posts alerts. Empty for nowhere.
    type: str
    default: ""
  slack_url:
    description: The incoming webhook of Slack. Empty for none.
    type: str
    default: ""
  slack_channel:
    description: The channel of Slack, empty for that of the webhook.
    type: str
    default: ""
  email:
    description: Where mail goes, by whom and by which server; C(to), C(from), C(smarthost) and, if wanted, C(username).
    type: dict
    default: {}
  email_password:
    description: The password at the mail server. Empty for none.
    type: str
    default: ""
  progress_dirs:
    description: Directories in which downloads write how far they are, beside those in the homes of users.
    type: list
    elements: str
    default: []
  grafana:
    description: Whether the leader is to have a Grafana.
    type: bool
    default: false
  grafana_image:
    description: Its image, by its digest.
    type: str
    default: ""
  grafana_port:
    description: The port of Grafana.
    type: int
    default: 3000
  grafana_password:
    description: The password of Grafana's admin. Empty for one that is made on the leader.
    type: str
    default: ""
  dcgm:
    description: Whether the members are to have DCGM's exporter.
    type: bool
    default: false
  dcgm_image:
    description: Its image, by its digest.
    type: str
    default: ""
  dcgm_port:
    description: The port of DCGM's exporters.
    type: int
    default: 9400
  journal_max_gb:
    description: How many GB of the disk the journal of each member may take. V(0) leaves it alone.
    type: int
    default: 0
  firewall:
    description: Whether rules of ufw are written.
    type: str
    choices: [auto, ufw, none]
    default: auto
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan the monitoring
  sparkops.dgx_spark.monitoring_plan:
    members: [spark1]
    enabled: true
    register: monitoring_found
    files: "{{ role_path }}/files"
  register: planned
"""

RETURN = r"""
changes:
  description: By name the changes, each with C(name) and, where a text changes, C(diff), in the order of the apply.
  returned: success
  type: dict
  sample: {spark1: [{name: "Start the monitoring's units"}]}
enabled:
  description: Whether there is to be a monitoring.
  returned: success
  type: bool
  sample: true
leader:
  description: The member that has Prometheus.
  returned: success
  type: str
  sample: spark1
hosts:
  description: >-
    By member what is written and started: C(address), C(packages), C(directories), C(program), C(files), C(surplus),
    C(units), C(enable), C(start), C(firewall_rules) and C(options), what the tasks of the options do.
  returned: where there is to be a monitoring
  type: dict
alertmanager:
  description: The text of Alertmanager's configuration, with placeholders for its secrets.
  returned: where there is to be a monitoring
  type: str
receivers:
  description: By what ways alerts go to people.
  returned: where there is to be a monitoring
  type: list
  elements: str
  sample: [webhook]
prometheus:
  description: Where Prometheus is.
  returned: where there is to be a monitoring
  type: str
  sample: http://127.0.0.1:9090
grafana:
  description: Where Grafana is, on the leader. Empty without one.
  returned: where there is to be a monitoring
  type: str
  sample: http://127.0.0.1:3000
dcgm:
  description: Whether the members are to have DCGM's exporter.
  returned: where there is to be a monitoring
  type: bool
  sample: false
alerts:
  description: Where Alertmanager is, on the leader.
  returned: where there is to be a monitoring
  type: str
  sample: http://127.0.0.1:9093
exposed:
  description: Who reaches what, where ufw is off.
  returned: where there is to be a monitoring
  type: list
  elements: str
at:
  description: When it was planned, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
