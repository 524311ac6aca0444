# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the supervisor, which lies beside this file."""

from __future__ import annotations

import sys

from supervisor.__main__ import main

sys.exit(main(sys.argv[1:]))
