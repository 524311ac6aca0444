#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_undo_plan
short_description: Plan what an undo removes of a serving
version_added: 0.1.0
description:
  - Computes from what each host has what is to be removed, whatever host was the leader.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  found:
    description: By name, what M(sparkops.dgx_spark.engine_host_info) returned.
    type: dict
    required: true
  gives_way:
    description: >-
      Whether another engine serves in its place under the same name, for which it has been ended: the firewall's rules
      stay then, since both have the same.
    type: bool
    default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan what is removed
  sparkops.dgx_spark.engine_undo_plan:
    found: {spark1: "{{ serving }}"}
  register: planned
"""

RETURN = r"""
changes:
  description: By name the changes, each with C(name) and, where a text changes, C(diff).
  returned: success
  type: dict
  sample: {"spark1": [{"name": "Stop the unit"}]}
ending:
  description: >-
    The names of the stacks and containers that this undo and earlier ones of the same play end. Roles whose undo
    follows do not count them, so that check mode foretells the whole.
  returned: success
  type: list
  elements: str
  sample: [dgx-spark-trtllm]
left:
  description: >-
    The names of other instances, of any engine, that are left on any host. As long as there is one, what other roles
    have made is needed; as long as there is one of this engine, its image stays.
  returned: success
  type: list
  elements: str
  sample: [dgx-spark-trtllm-vlm]
at:
  description: When it was planned, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
