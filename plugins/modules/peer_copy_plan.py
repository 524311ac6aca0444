#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: peer_copy_plan
short_description: Plan a copy of files from one Spark to others
version_added: 0.1.0
description:
  - Lists the changes of each Spark from what M(sparkops.dgx_spark.peer_copy_info) found.
  - Fails, with the host and the mend, where the leader lacks a file or a disk is too small.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  name:
    description: What is copied.
    type: str
    required: true
  members:
    description: What M(sparkops.dgx_spark.peer_copy_info) returned, by host, the leader first, who has the files.
    type: dict
    required: true
  reserve_gb:
    description: GB that are to stay free on every Spark.
    type: int
    default: 20
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan the copy
  sparkops.dgx_spark.peer_copy_plan:
    name: checkpoints
    members: {"spark1": "{{ found }}"}
  register: copy_plan
"""

RETURN = r"""
changes:
  description: By host a list of changes, each with C(name) and, where there are figures, C(diff).
  returned: success
  type: dict
  sample: {"spark1": [], "spark2": [{"name": "Copy the files from the leader"}]}
receivers:
  description: The members that copy files.
  returned: success
  type: list
  elements: str
  sample: [spark2]
directory:
  description: Where this host has the files, or is to have them.
  returned: success
  type: str
  sample: /data/checkpoints
complete:
  description: Whether this host has every file, by name and size.
  returned: success
  type: bool
  sample: true
at:
  description: When the plan was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
