#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: spark_members_check
short_description: Check who is in a cluster of Sparks, before anything is planned
version_added: 0.1.0
description:
  - Fails where a plan of these members would be wrong or half, such as an empty group, a name that stands twice, a
    member that the play leaves out (C(--limit)), two members with one management address, or fewer forks than members.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  members:
    description: The inventory names of all members in rank order, the leader first.
    type: list
    elements: str
    required: true
  option:
    description: The variable that O(members) comes from, for messages.
    type: str
    default: spark_members
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Check the members
  sparkops.dgx_spark.spark_members_check:
    members: "{{ groups['spark'] }}"
  register: cluster
"""

RETURN = r"""
leader:
  description: The first member, rank 0.
  returned: success
  type: str
  sample: spark1
workers:
  description: The other members, in rank order.
  returned: success
  type: list
  elements: str
  sample: [spark2]
rank:
  description: This host's rank.
  returned: success
  type: int
  sample: 0
is_leader:
  description: Whether this host is the leader.
  returned: success
  type: bool
  sample: true
at:
  description: When the members were checked, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
