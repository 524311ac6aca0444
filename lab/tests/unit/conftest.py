# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's programs live with the role that installs them: make them importable here."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

FILES = Path(__file__).parents[2] / "roles" / "virtual_spark" / "files"
sys.path[:0] = [str(FILES / "cables"), str(FILES / "internet")]

# A shell starts its background jobs with SIGINT ignored, and programs pass that on: here it must mean what it says.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
