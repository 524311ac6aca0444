#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fabric_report
short_description: Report the links and the bandwidth of a fabric
version_added: 0.1.0
description:
  - Combines the verified links and the measured bandwidth of a host, and fails where one of them is not as wanted.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  links:
    description: RV(sparkops.dgx_spark.fabric_plan#module:hosts.links) of this host.
    type: list
    elements: dict
    required: true
  answers:
    description: RV(sparkops.dgx_spark.fabric_ping_check#module:answers) of this host.
    type: list
    elements: dict
    required: true
  measured:
    description: What M(sparkops.dgx_spark.fabric_bandwidth) returned in this run, if it ran.
    type: dict
    default: {}
  earlier:
    description: RV(sparkops.dgx_spark.fabric_member_info#module:member.bandwidth), for a run that did not measure.
    type: dict
    default: {}
  min_gbps:
    description: Gbit/s to each peer, over all links at once. With V(0) any bandwidth will do.
    type: float
    default: 0
  hotplug:
    description: RV(sparkops.dgx_spark.fabric_plan#module:hotplug), for the message where the bandwidth is too small.
    type: list
    elements: str
    default: []
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Report the links
  sparkops.dgx_spark.fabric_report:
    links: "{{ fabric.hosts[inventory_hostname].links }}"
    answers: "{{ pings.answers }}"
"""

RETURN = r"""
links:
  description: The verified links (RV(sparkops.dgx_spark.fabric_ping_check#module:answers)).
  returned: success
  type: list
  elements: dict
bandwidth:
  description: C(tool) and C(measured) (RV(sparkops.dgx_spark.fabric_bandwidth#module:measured)), or null.
  returned: success
  type: dict
at:
  description: When the report was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
