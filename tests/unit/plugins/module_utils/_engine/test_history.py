# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of a serving: bounded, without the same twice, and it tells what served before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import history
from hypothesis import given
from hypothesis import strategies as st


def entry(repo: str, outcome: str = history.SERVED, **more: Any) -> history.Entry:
    return history.entries([{"repo": repo, "outcome": outcome, "commit": "c", "at": 1.5, **more}])[0]


def said(*words: str) -> list[history.Entry]:
    """Entries by words such as "a" and, of one that did not serve, "b!"."""
    found: list[history.Entry] = []
    for word in words:
        failed = word.endswith("!")
        found = history.added(found, entry(f"lab/{word.rstrip('!')}", history.PUT_BACK if failed else history.SERVED))
    return found


@pytest.mark.parametrize(
    ("words", "current", "previous"),
    [
        ((), None, None),
        (("a",), "lab/a", None),
        (("a", "b"), "lab/b", "lab/a"),
        (("a", "b", "a"), "lab/a", "lab/b"),
        (("a", "b!"), "lab/a", None),
        (("a", "b", "c!"), "lab/b", "lab/a"),
        (("a", "b!", "a"), "lab/a", None),
    ],
)
def test_what_serves_and_what_served_before(words: tuple[str, ...], current: str | None, previous: str | None) -> None:
    known = said(*words)
    found = [one["repo"] if one else None for one in (history.current(known), history.previous(known))]
    assert found == [current, previous]


def test_the_same_model_with_other_options_is_what_served_before() -> None:
    few, many = entry("lab/a", asked={"options": {"x": 1}}), entry("lab/a", asked={"options": {"x": 2}})
    assert history.previous(history.added([few], many)) == few
    later = {**many, "config": "another image", "at": 9.0}
    assert history.added([few, many], later) == [few, later], "a later image is no other model"


@given(st.lists(st.sampled_from(["a", "b", "a!", "c"]), max_size=60))
def test_it_is_bounded_and_holds_nothing_twice_in_a_row(words: list[str]) -> None:
    known = said(*words)
    assert len(known) <= history.MOST
    pairs = list(zip(known, known[1:]))
    assert [one for one, other in pairs if history.same(one, other) and one["outcome"] == other["outcome"]] == []
    if words:
        assert known[-1]["repo"] == f"lab/{words[-1].rstrip('!')}"
    assert history.entries(json.loads(history.text(known))) == known


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_document_is_read_as_far_as_it_is_one(document: Any) -> None:
    for one in history.entries(document):
        assert isinstance(one["repo"], str)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"repo": "a"}', "\\ud800"])
def test_half_a_file_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / history.FILE).write_text(text)
    assert history.read(tmp_path) == []


def test_no_file_is_an_empty_history_and_one_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert history.read(tmp_path / "nowhere") == []
    (tmp_path / history.FILE).mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        history.read(tmp_path)


def test_a_long_reason_is_cut() -> None:
    assert len(entry("lab/a", why="x" * 9000)["why"]) == history.WHY
