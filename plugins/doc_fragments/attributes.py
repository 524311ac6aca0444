# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules of this collection say of check mode, diff mode and idempotence."""

from __future__ import annotations


class ModuleDocFragment:
    """``attributes`` describes; ``attributes.info`` adds the answers of a module that only reads."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and tell whether it would change something, without changing it.
  diff_mode:
    description: Tells in diff mode what changed, or would change in C(check_mode).
  idempotent:
    description: Run a second time with the same arguments, outside C(check_mode), it changes nothing.
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: This module changes nothing.
  diff_mode:
    support: N/A
    details: This module changes nothing.
  idempotent:
    support: full
    details: This module changes nothing.
"""
