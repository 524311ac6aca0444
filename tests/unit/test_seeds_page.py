# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row of the guides says where it is done and which test has seen that, or that it is open or not taken."""

from __future__ import annotations

import re

import pytest
from roles_support import ROOT

PAGE = ROOT / "docs" / "seeds.md"
LINK = re.compile(r"\[[^\]]+\]\(([^)#]+)[^)]*\)")
TEST = re.compile(r"`(test_\w+)`")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| row |", "| --- |"))
]
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:50])


def test_there_are_rows_of_five_guides() -> None:
    assert PAGE.read_text().count("| row | done in | seen by |") == 5
    assert len({row[0] for row in ROWS}) > 70


@every_row
def test_a_row_says_where_it_is_done_and_how_that_was_seen(row: list[str]) -> None:
    assert len(row) == 3
    _what, done, seen = row
    is_open = re.search(r"\b(open|not taken)\b", done)
    assert is_open or (seen and (LINK.search(done) or TEST.search(seen))), "neither done nor open"


@every_row
def test_what_a_row_names_is_there(row: list[str]) -> None:
    """That links lead to files and headings, the test of all pages asserts."""
    names = TEST.findall(row[2])
    files = [(PAGE.parent / link).resolve() for link in LINK.findall(row[2])]
    assert [str(path) for path in files if not path.is_file()] == []
    said = "".join(path.read_text() for path in files)
    assert [name for name in names if f"def {name}(" not in said] == [], "no such test in the files that are linked"
