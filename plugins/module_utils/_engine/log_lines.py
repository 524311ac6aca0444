# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of the serving containers' logs with their times. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from typing import Any, Iterable

#: a line as Docker prints it with its time, which has nine digits behind the second, always
_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9})Z ?(.*)")
#: control characters, which would move a terminal's cursor or colour what follows
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def entries(serving: str, lines: Iterable[str], after: str = "") -> list[dict[str, str]]:
    """The lines with ``at``, ``name`` and ``text``, without what cannot be shown; of a progress bar its last state.

    :param after: the time of the last line that is known already.

    >>> entries("trtllm", ["2026-11-30T22:10:11.123456789Z 10%\\r20%", "no time"])
    [{'at': '2026-11-30T22:10:11.123456789', 'name': 'trtllm', 'text': '20%'}]
    """
    found = []
    for match in filter(None, map(_LINE.fullmatch, lines)):
        text = _CONTROL.sub("", match[2].rstrip("\r").rpartition("\r")[2]).expandtabs(4).rstrip()
        if match[1] > after and text:
            found.append({"at": match[1], "name": serving, "text": text})
    return found


def newest(found: Iterable[dict[str, str]], after: str = "") -> str:
    """The time of the last line, or that which was known."""
    return max((one["at"] for one in found), default=after) or after


def merged(by_host: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The lines of all hosts in the order of their times, as they are shown.

    >>> merged({"spark2": [{"at": "2026-11-30T22:10:11.123456789", "name": "trtllm", "text": "ready"}]})
    ['22:10:11.123 spark2 trtllm | ready']
    """
    every = [(str(one["at"]), host, one) for host, found in by_host.items() for one in found]
    width = max(map(len, by_host), default=0)
    every.sort(key=lambda entry: entry[:2])
    return [f"{at[11:23]} {host:<{width}} {one['name']} | {one['text']}" for at, host, one in every]
