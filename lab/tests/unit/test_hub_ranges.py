# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Byte ranges: a table, and any text at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_internet.ranges import UnsatisfiableRangeError, if_range_holds, parse_range, spoil_hex


@pytest.mark.parametrize(
    ("header", "size", "span"),
    [
        (None, 10, None),
        ("", 10, None),
        ("bytes=0-", 10, (0, 9)),
        ("bytes=3-", 10, (3, 9)),
        ("bytes=3-5", 10, (3, 5)),
        ("bytes=3-99", 10, (3, 9)),
        ("bytes=9-9", 10, (9, 9)),
        ("bytes=-4", 10, (6, 9)),
        ("bytes=-99", 10, (0, 9)),
        (" Bytes = 1 - 2 ", 10, (1, 2)),
        ("bytes=5-3", 10, None),
        ("bytes=50-30", 10, None),
        ("bytes=-", 10, None),
        ("bytes=0-1,4-5", 10, None),
        ("lines=1-2", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=\u0661-\u0662", 10, None),
        ("bytes=--1", 10, None),
    ],
)
def test_ranges(header: str | None, size: int, span: tuple[int, int] | None) -> None:
    assert parse_range(header, size) == span


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=0-", 0), ("bytes=-1", 0), ("bytes=-0", 10)])
def test_unsatisfiable(header: str, size: int) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(header, size)


@settings(deadline=None)
@given(st.text() | st.from_regex(r"bytes=\d*-\d*", fullmatch=True), st.integers(0, 10**12))
def test_no_text_breaks_it(header: str, size: int) -> None:
    try:
        span = parse_range(header, size)
    except UnsatisfiableRangeError:
        return
    assert span is None or 0 <= span[0] <= span[1] < size


@settings(deadline=None)
@given(st.data())
def test_a_printed_range_parses_back(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 10**12))
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, size - 1))
    assert parse_range(f"bytes={first}-{last}", size) == (first, last)
    assert parse_range(f"bytes=-{size - first}", size) == (first, size - 1)


@pytest.mark.parametrize(
    ("header", "holds"), [(None, True), ('"abc"', True), ("then", True), ('"abd"', False), ('W/"abc"', False)]
)
def test_if_range(header: str | None, holds: bool) -> None:
    assert if_range_holds(header, "abc", "then") is holds


@settings(deadline=None)
@given(st.text("0123456789abcdef", min_size=1))
def test_a_spoilt_tag_has_the_same_shape(tag: str) -> None:
    assert spoil_hex(tag) != tag
    assert len(spoil_hex(tag)) == len(tag)
    assert spoil_hex("sha256:" + tag) == "sha256:" + spoil_hex(tag)
