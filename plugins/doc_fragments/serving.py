# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that start and stop a serving have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Which serving is meant, who starts it, and on which Sparks."""

    DOCUMENTATION = r"""
options:
  layout:
    description: Paths and names of the serving, as M(sparkops.dgx_spark.engine_host_info) returns them.
    type: dict
    required: true
  launcher:
    description: Who starts the containers.
    type: str
    choices: [swarm, docker]
    required: true
  members:
    description: The Sparks that serve, leader first, by inventory name.
    type: list
    elements: str
    required: true
  leader:
    description: Whether this host is the first of O(members).
    type: bool
    required: true
"""
