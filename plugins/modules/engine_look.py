#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_look
short_description: Begin the plan of a serving with what is kept of its image
version_added: 0.1.0
description:
  - >-
    Returns, of what M(sparkops.dgx_spark.engine_host_info) has read on the leader, the part that the role of an engine
    plans with. M(sparkops.dgx_spark.engine_plan) makes the whole plan, once that role has planned the engine.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  found:
    description: What M(sparkops.dgx_spark.engine_host_info) returned of the leader.
    type: dict
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Begin the plan with what is kept of the image
  sparkops.dgx_spark.engine_look:
    found: "{{ hostvars['spark-1a2b'].serving }}"
  register: engine_serve_plan
"""

RETURN = r"""
image_facts:
  description: What is kept of the image, the C(facts) of M(sparkops.dgx_spark.trtllm_image_info); empty for none.
  returned: success
  type: dict
  sample: {}
at:
  description: When it was planned, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
