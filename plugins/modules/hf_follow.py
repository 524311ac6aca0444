#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_follow
short_description: Follow a long step that was started in the background, and say how far it is
version_added: "0.1.0"
description:
  - >-
    Waits for a task that was started with C(async) and C(poll=0), shows its progress, and then has its result: what it
    returned, changed or failed.
  - The step itself runs on without whom follows it. After a lost connection, or Ctrl-C, run the play again.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  started:
    description:
      - What was registered of the task that started it.
      - One that was skipped, or had nothing to start, is passed on.
    type: dict
    required: true
  progress:
    description: The file that tells how far it is, and those of what runs beside it.
    type: list
    elements: str
    default: []
  interval:
    description: Seconds between two looks.
    type: int
    default: 5
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Start the download
  sparkops.dgx_spark.hf_download:
    model: "{{ asked.model }}"
  async: 86400
  poll: 0
  register: downloading

- name: Follow it
  sparkops.dgx_spark.hf_follow:
    started: "{{ downloading }}"
    progress: "{{ seen.progress }}"
"""

RETURN = r"""
finished:
  description: That the step has ended. All that it returned stands beside this.
  returned: when it ran in the background
  type: bool
  sample: true
"""
