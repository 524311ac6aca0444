#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: planned_changes
short_description: Show what the plans of roles would change on this host
version_added: 0.1.0
description:
  - Every role of this collection plans before it changes anything, and its plan lists the changes for each host. This
    shows the list, in words and as a diff.
  - With O(role), it fails where the role has not planned yet in this run, and shows diffs in check mode alone.
  - In check mode a host with planned changes counts as changed, so that C(--check) shows exactly the plan.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  role:
    description: The role whose plan is shown, which is the variable that is named by the role and C(_plan).
    type: str
    default: ""
  entry_point:
    description: The entry point of O(role) that needs the plan, for the message.
    type: str
    default: apply
  changes:
    description: >-
      C(changes) of a role's plan, by host a list of changes, each with C(name), where a text changes C(diff), and
      C(of) where the plan has several changes of one name.
    type: dict
    default: {}
  plans:
    description: Plans of several roles. Their changes are shown after O(changes), in the order of the plans.
    type: list
    elements: dict
    default: []
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Show the planned changes of a role
  sparkops.dgx_spark.planned_changes:
    role: cx7_network

- name: Show what two roles would change
  sparkops.dgx_spark.planned_changes:
    plans:
      - "{{ cx7_network_plan }}"
      - "{{ hf_cache_plan }}"
"""

RETURN = r"""
planned:
  description: The names of the changes, in the order in which they would be made, each with what it is of.
  returned: success
  type: list
  elements: str
  sample: [Write the netplan file, Activate the fabric's network devices]
at:
  description: When the list was shown, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
