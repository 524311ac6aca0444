#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: prune_plan
short_description: Plan which models and images are removed from which Spark
version_added: 0.1.0
description:
  - >-
    With O(free_gb), chooses of what this collection brought that which was used longest ago on any Spark, for each
    Spark that has less room where its cache or its images are, and no more than is needed. Whatever else lies there
    goes only where it is named.
  - >-
    What a container, a service or a configuration of any Spark needs, and what is pinned, stays. That which is named
    and stays, or is on no Spark, fails the plan, and so does room that cannot be made.
  - Shows the plan. Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  members:
    description: By Spark what M(sparkops.dgx_spark.prune_host_info) returned.
    type: dict
    required: true
  free_gb:
    description: How many GB are to be free. Without this option, only what is named is removed.
    type: float
  models:
    description: Repositories that are removed from all Sparks that have them.
    type: list
    elements: str
    default: []
  images:
    description: Images that are removed from all Sparks that have them, each by a tag, a digest or a whole ID.
    type: list
    elements: str
    default: []
  keep:
    description: Repositories, and tags, digests or IDs of images, that stay.
    type: list
    elements: str
    default: []
  served:
    description: >-
      Repositories and images that O(free_gb) leaves, each with the name of the variable that says so.
    type: dict
    default: {}
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan what goes
  sparkops.dgx_spark.prune_plan:
    members: {spark1: "{{ there }}"}
    free_gb: 500
    keep: [openai/gpt-oss-20b]
  register: planned
"""

RETURN = r"""
changes:
  description: By Spark the changes, each with C(name), C(of) and C(diff).
  returned: success
  type: dict
  sample: {"spark1": [{"name": "Remove the model", "of": "openai/gpt-oss-120b"}]}
remove:
  description: By Spark the C(models), each with C(repo) and C(bytes), and the C(images), each with C(id) and C(names).
  returned: success
  type: dict
lines:
  description: The plan for people.
  returned: success
  type: list
  elements: str
at:
  description: When it was planned, in seconds since the epoch.
  returned: success
  type: float
"""
