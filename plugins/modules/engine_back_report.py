#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_back_report
short_description: Fail with why a serving does not serve, and say what serves now
version_added: 0.1.0
description:
  - Fails in any case, with the reason and what became of what served before, in a sentence each.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  back:
    description: What M(sparkops.dgx_spark.engine_back_plan) returned.
    type: dict
    required: true
  members:
    description: The Sparks that serve, leader first, by inventory name.
    type: list
    elements: str
    required: true
  problems:
    description: >-
      Why what was put back does not serve either, as M(sparkops.dgx_spark.engine_wait) returned it on the leader. None
      where it serves, was stopped, or was not put back.
    type: list
    elements: str
    default: []
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Fail with the reason, and say what serves
  sparkops.dgx_spark.engine_back_report:
    back: "{{ back }}"
    members: [spark1, spark2]
    problems: "{{ waited.problems }}"
"""

RETURN = r"""
msg:
  description: The reason, and what serves now.
  returned: always
  type: str
  sample: >-
    spark2 has no image. openai/gpt-oss-20b serves again on spark1, spark2, as before: mend what the reason names, and
    run this again.
"""
