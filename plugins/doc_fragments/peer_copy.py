# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that copy between Sparks have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Which copy is meant; ``.files`` and ``.attempts`` are further options."""

    DOCUMENTATION = r"""
options:
  name:
    description: What is copied. Each name has a key and an access of its own.
    type: str
    required: true
  dir:
    description:
      - The directory of all copies, in which keys and programs are as long as a copy runs.
      - The module must run as the user who copies.
    type: path
    default: ~/.dgx-spark
"""

    FILES = r"""
options:
  directory:
    description: The directory of the files.
    type: path
    required: true
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: What the file is called in messages.
        type: str
        required: true
      size:
        description: Bytes.
        type: int
        required: true
      sha256:
        description: Its hash, which is its file name on both Sparks.
        type: str
        required: true
"""

    ATTEMPTS = r"""
options:
  attempts:
    description: How often the transfer is started before the module gives up, with growing pauses.
    type: int
    default: 5
  stall_seconds:
    description: After how many seconds without a byte the transfer is started again.
    type: int
    default: 120
"""
