# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules of the API gateway have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Whose gateway is meant, and where its keys are kept."""

    DOCUMENTATION = r"""
options:
  instance:
    description: The name of the instance whose gateway it is, empty for the one without a name.
    type: str
    default: ""
"""

    KEYS = r"""
options:
  directory:
    description: >-
      Where on the controller the keys of a gateway's clients are kept, with the certificate of its authority: a
      directory that this user alone may enter.
    type: path
    required: true
"""
