# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of a validation have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """``validation`` is of all that try something, ``.server`` of what asks a server, ``.model`` of what loads one."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: In check mode nothing is tried.
  diff_mode:
    support: N/A
    details: Nothing is left of what it starts.
  idempotent:
    support: full
    details: Nothing is left of what it starts.
"""

    SERVER = r"""
options:
  image:
    description: The image of the container that asks, by name or ID. The engine's will do, as it has Python.
    type: str
    required: true
  address:
    description: Where the server listens, seen from the host, as V(address:port).
    type: str
    required: true
  model:
    description: The name of the model in requests.
    type: str
    required: true
  path:
    description: >-
      Where requests are sent: V(/v1/chat/completions) for a model that chats, V(/v1/completions) for one without a chat
      template.
    type: str
    choices: [/v1/chat/completions, /v1/completions]
    default: /v1/chat/completions
  gap_seconds:
    description: How many seconds a token may take.
    type: float
    default: 60
"""

    MODEL = r"""
options:
  beside_serving:
    description: Whether a model may be loaded while a serving runs on this host.
    type: bool
    default: false
  reserve_mib:
    description: MiB that have to be available beside the model's weights, on a Spark of 128 GB; the same share of less.
    type: int
    default: 24576
  meminfo:
    description: The file that tells the host's memory.
    type: path
    default: /proc/meminfo
"""
