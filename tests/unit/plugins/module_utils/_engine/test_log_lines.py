# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of several containers become one view, whatever is in them."""

from __future__ import annotations

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import log_lines
from hypothesis import given
from hypothesis import strategies as st

FIRST, SECOND, THIRD = (f"2026-11-30T22:10:1{second}.000000001" for second in range(3))


def test_lines_of_all_ranks_are_in_the_order_of_their_times() -> None:
    one = log_lines.entries("trtllm", [f"{FIRST}Z loads", f"{THIRD}Z serves"])
    two = log_lines.entries("trtllm", [f"{SECOND}Z joined"])
    assert [line.rpartition("| ")[2] for line in log_lines.merged({"spark1": one, "spark2": two})] == [
        *("loads", "joined", "serves")
    ]


def test_a_further_look_shows_what_is_new_alone() -> None:
    lines = [f"{FIRST}Z a", f"{SECOND}Z b"]
    found = log_lines.entries("trtllm", lines)
    newest = log_lines.newest(found)
    assert newest == SECOND
    assert log_lines.entries("trtllm", [*lines, f"{THIRD}Z c"], newest) == [
        {"at": THIRD, "name": "trtllm", "text": "c"}
    ]
    assert log_lines.newest([], newest) == newest


def test_nothing_that_moves_a_cursor_is_shown() -> None:
    (found,) = log_lines.entries("trtllm", [f"{FIRST}Z \x1b[31mred\x1b[0m 10%\r\x1b[2K90%\x07\r"])
    assert found["text"] == "90%"


@given(st.lists(st.text()), st.text())
def test_any_log_is_shown_line_by_line(lines: list[str], text: str) -> None:
    found = log_lines.entries("trtllm", [*lines, f"{FIRST}Z {text}"])
    assert all("\n" not in line and "\x1b" not in line for line in log_lines.merged({"spark1": found}))
