#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build_follow
short_description: Follow a long build that a transient unit runs, and show its progress
version_added: 0.1.0
description:
  - >-
    Asks M(sparkops.dgx_spark.image_build_wait) again and again, shows how far the build is, and fails with the last
    lines of its log where it fails.
  - The build runs on when it is not followed any more. After a lost connection, or Ctrl-C, run the play again.
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
  kind:
    description: V(build) is that of an image from source, V(engine-build) that of engines with C(trtllm-build).
    type: str
    choices: [build, engine-build]
    default: build
  dir:
    description: Where the build is. C(/var/lib/dgx-spark/) and O(kind) by default.
    type: path
  interval:
    description: Seconds after which the progress is asked for again.
    type: int
    default: 10
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Wait for the build
  sparkops.dgx_spark.image_build_follow:
  become: true
"""

RETURN = r"""
state:
  description: What the program of the build noted last.
  returned: always
  type: dict
log:
  description: The last lines of its log.
  returned: failure
  type: list
  elements: str
"""
