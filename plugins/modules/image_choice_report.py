#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_choice_report
short_description: Report whether to take the newest image, to build one from source, or to take another engine
version_added: 0.1.0
description:
  - >-
    Shows a table with reasons, from what a registry offers, what was asked for, and what is known of the engines and a
    model. It decides nothing.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  image:
    description: The image that is served, or would be.
    type: str
    required: true
  offered:
    description: What M(sparkops.dgx_spark.image_offers_info) returned.
    type: dict
    required: true
  commit:
    description: The commit, tag or branch that somebody wants. Empty for none.
    type: str
    default: ""
  engines:
    description: What M(sparkops.dgx_spark.engines_report) returned as C(engines), for O(model).
    type: list
    elements: dict
    default: []
  model:
    description: The model that is to be served. Empty for none.
    type: str
    default: ""
  engine:
    description: The engine that serves.
    type: str
    default: trtllm
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Report what to do
  sparkops.dgx_spark.image_choice_report:
    image: nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13
    offered: "{{ offers }}"
"""

RETURN = r"""
table:
  description: The report as lines of ASCII.
  returned: success
  type: list
  elements: str
choices:
  description: >-
    All that can be done, what to try first before the others, each with C(what), C(place) (C(0) for what cannot be
    done), C(which), C(costs), C(reasons) and C(command).
  returned: success
  type: list
  elements: dict
first:
  description: What to try first.
  returned: success
  type: str
  sample: newest image
at:
  description: When the report was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
