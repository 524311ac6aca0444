#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_toolkit_plan
short_description: Plan the NVIDIA Container Toolkit and Docker's runtimes on every Spark
version_added: 0.1.0
description:
  - >-
    Compares what M(sparkops.dgx_spark.container_toolkit_info) found on every member with what the role
    C(container_toolkit) is asked for, and lists the changes for each.
  - Fails, with nothing changed, where a host cannot become that.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  members:
    description: By host what M(sparkops.dgx_spark.container_toolkit_info) found, in rank order.
    type: dict
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan the changes to the toolkit and to Docker
  sparkops.dgx_spark.container_toolkit_plan:
    members: "{{ dict(names | zip(names | map('extract', hostvars, 'found'))) }}"
  vars:
    names: "{{ groups['spark'] }}"
  register: container_toolkit_plan
"""

RETURN = r"""
changes:
  description: By host the list of changes, each with its C(name) and, where a text changes, its C(diff).
  returned: success
  type: dict
  sample: {spark1: [{name: Restart Docker}]}
gpus:
  description: The UUIDs of this host's GPUs.
  returned: success
  type: list
  elements: str
  sample: [GPU-e793e0a4-fd41-dcd8-a833-3127370a6779]
files:
  description: The files for apt on this host, by what they are for (C(source), C(proxy), C(pin)).
  returned: success
  type: dict
  sample: {}
simulate:
  description: Whether apt can simulate the planned installation on this host already.
  returned: success
  type: bool
  sample: false
hosts:
  description: >-
    By host its C(gpus), the text that C(daemon_json) will have, and the C(version) of the toolkit that there will be,
    null where that is not known yet.
  returned: success
  type: dict
  sample: {spark1: {gpus: [GPU-e793e0a4-fd41-dcd8-a833-3127370a6779], daemon_json: "{}", version: 1.19.0}}
warnings:
  description: >-
    What is to be known of this host's engine: a version that was upgraded under it, or settings that C(nvidia-ctk
    runtime configure --cdi.enabled) took out of C(daemon.json). Ansible shows them.
  returned: success
  type: list
  elements: str
  sample: []
at:
  description: When the plan was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
