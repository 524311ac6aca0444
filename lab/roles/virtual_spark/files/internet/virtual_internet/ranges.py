# SIMULATED: part of the lab's stand-in for the internet.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP byte ranges and entity tags: pure functions."""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


class UnsatisfiableRangeError(ValueError):
    """The range is well formed, but none of it is in the file: answer 416."""


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first and last byte asked for, or None where the whole file is to be sent.

    As RFC 9110 allows, and as S3 does, a malformed header and a list of several ranges are ignored.
    """
    match = _RANGE.fullmatch(header.strip().lower().replace(" ", "")) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first_text, last_text = match.groups()
    if not first_text:  # the last n bytes
        length = int(last_text)
        if length == 0 or size == 0:
            raise UnsatisfiableRangeError(header)
        return max(size - length, 0), size - 1
    first = int(first_text)
    if last_text and int(last_text) < first:
        return None
    if first >= size:
        raise UnsatisfiableRangeError(header)
    return first, min(int(last_text), size - 1) if last_text else size - 1


def if_range_holds(header: str | None, etag: str, last_modified: str) -> bool:
    """Whether `If-Range` lets a range be served: absent, or the same strong tag or the same date."""
    return header is None or header.strip() in (f'"{etag}"', last_modified)


def spoil_hex(text: str) -> str:
    """Return a tag of the same shape with every hexadecimal digit changed, its `sha256:` kept."""
    algorithm, colon, value = text.rpartition(":")
    return algorithm + colon + re.sub(r"[0-9a-f]", lambda digit: f"{15 - int(digit.group(), 16):x}", value)
