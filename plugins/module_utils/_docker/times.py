# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Points in time as a Docker Engine writes them.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from datetime import datetime

STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)")


def seconds_of(stamp: object) -> float | None:
    """A point in time in seconds since the epoch, in whatever time zone it is written; None for none.

    >>> seconds_of("2026-11-30T03:12:45.123456789Z"), seconds_of("2026-11-30T04:12:45+01:00")
    (1796008365.0, 1796008365.0)
    >>> seconds_of("0001-01-01T00:00:00Z"), seconds_of("soon"), seconds_of(None)
    (None, None, None)
    """
    match = STAMP.fullmatch(str(stamp))
    if not match:
        return None
    try:
        found = datetime.fromisoformat(match[1] + ("+00:00" if match[2] == "Z" else match[2])).timestamp()
    except (ValueError, OverflowError):
        return None
    return found if found > 0 else None
