#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: async_follow
short_description: Follow a long step that was started in the background, and show its progress
version_added: 0.1.0
description:
  - >-
    Waits for a task that was started with C(async) and C(poll=0), shows its progress, and then returns the task's
    result: what was returned, changed or failed.
  - The step itself runs on when it is not followed any more. After a lost connection, or Ctrl-C, run the play again.
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
      - What the task that started the step registered.
      - The result of a task that was skipped, or did not run in the background, is returned as it is.
    type: dict
    required: true
  progress:
    description:
      - The files that tell how far the step is.
      - The progress of an image's pull, which M(sparkops.dgx_spark.image_pull_progress) writes, is always shown beside.
    type: list
    elements: str
    default: []
  interval:
    description: Seconds after which the progress is asked for again, with M(sparkops.dgx_spark.async_job_info).
    type: int
    default: 5
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Start the download
  sparkops.dgx_spark.hf_cache_model:
    model: "{{ found.model }}"
  async: 86400
  poll: 0
  register: downloading

- name: Wait for the download
  sparkops.dgx_spark.async_follow:
    started: "{{ downloading }}"
    progress: ["{{ found.progress }}"]
"""

RETURN = r"""
finished:
  description: That the step has ended. All that it returned stands beside this.
  returned: when it ran in the background
  type: bool
  sample: true
"""
