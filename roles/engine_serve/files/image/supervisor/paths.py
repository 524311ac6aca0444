# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the files are that the supervisor reads and writes."""

from __future__ import annotations

from pathlib import Path

from . import contract

CONFIG = Path(contract.CONFIG_DIR)
STATE = Path(contract.STATE_DIR)
RUN = Path(contract.RUN_DIR)
DROP_CACHES = Path(contract.DROP_CACHES)
SSH_HOME = Path("/root/.ssh")


def environment() -> Path:
    """A worker container's own environment, which its ranks do not get by ssh."""
    return RUN / "environment.json"
