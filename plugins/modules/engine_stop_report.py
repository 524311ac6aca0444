#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_stop_report
short_description: Report what was stopped, and what that cut off
version_added: 0.1.0
description:
  - Puts together what was planned, how long requests were waited for, and how many ran when the engine was ended.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  plan:
    description: What M(sparkops.dgx_spark.engine_lifecycle_plan) returned.
    type: dict
    required: true
  drained:
    description: >-
      What M(sparkops.dgx_spark.engine_drain) returned on the leader; without its values where nothing had to be
      stopped.
    type: dict
    default: {}
  ended:
    description: >-
      What M(sparkops.dgx_spark.engine_running) returned on the leader; without its values where nothing had to be
      stopped.
    type: dict
    default: {}
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Report what was stopped
  sparkops.dgx_spark.engine_stop_report:
    plan: "{{ engine_serve_plan }}"
    drained: "{{ drained }}"
    ended: "{{ ended }}"
  register: report
"""

RETURN = r"""
instance:
  description: The instance's name, empty for that without a name.
  returned: success
  type: str
  sample: vlm
launcher:
  description: Who starts the containers, C(swarm) or C(docker).
  returned: success
  type: str
  sample: swarm
sparks:
  description: On which Sparks something was stopped; none where all was stopped before.
  returned: success
  type: list
  elements: str
  sample: [spark1, spark2]
waited_s:
  description: For how many seconds running requests were waited for.
  returned: success
  type: float
  sample: 12.3
requests_cut:
  description: How many requests ran when the engine was ended; null where nothing had to be stopped.
  returned: success
  type: int
  sample: 0
serves_beside:
  description: Other instances that serve on the leader, by the names of their containers or stacks.
  returned: success
  type: list
  elements: str
  sample: [dgx-spark-trtllm-vlm]
words:
  description: The same in a sentence.
  returned: success
  type: str
  sample: dgx-spark-trtllm was stopped on spark1 and spark2; 0 requests were cut off. start.yml starts it again
at:
  description: When the report was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
