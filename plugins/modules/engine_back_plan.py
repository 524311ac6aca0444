#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_back_plan
short_description: Plan whether what last served is put back
version_added: 0.1.0
description:
  - >-
    Says why a planned serving does not serve, and whether what served before can be put back. It can where each Spark
    has kept that, and where all that have to be asked answer; under a Swarm that is the leader.
  - >-
    To be run in the C(rescue) of the block in which the serving was put in place, before anything is put back. It reads
    what the hosts have registered, also of those that cannot be reached.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  plan:
    description: What M(sparkops.dgx_spark.engine_plan) returned.
    type: dict
    required: true
  members:
    description: The Sparks that serve, leader first, by inventory name.
    type: list
    elements: str
    required: true
  keys_lost:
    description: Whether MPI's keys were made anew, without which what served before could not start again.
    type: bool
    required: true
  reached:
    description: The variable in which each host that still answers has its inventory name, as C(msg).
    type: str
    required: true
  kept:
    description: >-
      The variable in which each host has what M(sparkops.dgx_spark.engine_last_good) returned with
      O(sparkops.dgx_spark.engine_last_good#module:state=kept). A host that has no such result has kept nothing.
    type: str
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Name the Sparks that still answer
  ansible.builtin.debug:
    msg: "{{ inventory_hostname }}"
  register: reached

- name: Plan whether what last served is put back
  sparkops.dgx_spark.engine_back_plan:
    plan: "{{ engine_serve_plan }}"
    members: [spark1, spark2]
    keys_lost: false
    reached: reached
    kept: kept
  register: back
"""

RETURN = r"""
why:
  description: >-
    Why the planned serving does not serve, in a sentence, by the first member whose task failed; of a loop by the first
    item that failed.
  returned: success
  type: str
  sample: spark2 has no image.
silent:
  description: The Sparks that have to be asked to put something back, and cannot be reached.
  returned: success
  type: list
  elements: str
  sample: [spark2]
can_go_back:
  description: Whether what last served can be put back.
  returned: success
  type: bool
to_former:
  description: Whether another engine that served before can come back, which needs all Sparks.
  returned: success
  type: bool
former:
  description: That engine, as M(sparkops.dgx_spark.engine_plan) returns it; empty where none served before.
  returned: success
  type: dict
not_kept:
  description: Why it cannot be, in words. It may be empty where a Spark did not come to keep it.
  returned: success
  type: list
  elements: str
  sample: [spark2 cannot be reached]
was:
  description: The model that served before; empty where that is not known.
  returned: success
  type: str
  sample: openai/gpt-oss-20b
was_stopped:
  description: Whether C(stop.yml) had stopped it.
  returned: success
  type: bool
at:
  description: When the plan was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
