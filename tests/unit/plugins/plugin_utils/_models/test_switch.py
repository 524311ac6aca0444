# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which model is served next: named, chosen from a table, or the one that served before."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import history
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue, fit, report, switch

HOST = report.Host("spark1", 122_000, 10**13)


@pytest.fixture(scope="module")
def rows() -> list[report.Row]:
    return switch.listed(report.rows(catalogue.load({}), {}, [HOST], report.Asked()))


def served(*repos: str) -> list[history.Entry]:
    return history.entries([{"repo": repo, "commit": "c", "asked": {"options": {}}} for repo in repos])


def test_what_fits_comes_first_and_small_ones_before_large_ones(rows: list[report.Row]) -> None:
    order = [(row.answer != fit.FITS, row.answer == fit.DOES_NOT, row.bytes or 0) for row in rows]
    assert order == sorted(order)
    assert {row.answer for row in rows} >= {fit.FITS, fit.DOES_NOT}
    assert len({row.handle for row in rows}) == len(catalogue.load({}))


def test_the_table_numbers_the_models_and_says_of_each_what_counts(rows: list[report.Row]) -> None:
    first, last = rows[0].handle, rows[-1].handle
    lines = switch.table(rows, {first}, last)
    assert lines[1].split()[:2] == ["1", first]
    assert lines[1].endswith("fits, in the cache")
    assert lines[-1].endswith("does not fit, serves")
    assert len(lines) == len(rows) + 1


def test_no_model_that_does_not_fit_is_taken(rows: list[report.Row]) -> None:
    assert switch.refusal(rows[0].handle, rows) == ""
    assert switch.refusal("some/other", rows) == ""
    assert switch.refusal(rows[-1].handle, rows).startswith(f"{rows[-1].handle} does not fit: ")


@pytest.mark.parametrize(("known", "says"), [([], "is empty"), (["lab/a"], "tells of lab/a alone")])
def test_without_a_model_before_nothing_is_guessed(known: list[str], says: str) -> None:
    with pytest.raises(switch.SwitchError, match=says):
        switch.previous(served(*known))


LEFT: list[tuple[tuple[str, str, str], str]] = [
    (("lab/b", "lab/b", "lab/a"), "lab/b serves instead of lab/a. Let spark_model: lab/b stand in the inventory: "),
    (("lab/b", "lab/b", "lab/a"), "-e spark_model=previous brings lab/a back."),
    (("lab/b", "previous", "lab/a"), "Let spark_model: lab/b with its options, which history.json on the leader has, "),
    (("lab/b", "lab/b", ""), "lab/b serves. Let spark_model: lab/b stand in the inventory"),
    (("lab/b", "lab/b", "lab/b"), "lab/b serves. Let spark_model: lab/b stand in the inventory"),
]


@pytest.mark.parametrize(("said", "says"), LEFT)
def test_what_is_left_to_do_is_told(said: tuple[str, str, str], says: str) -> None:
    assert says in switch.left(*said)


def test_options_that_are_not_known_are_left_to_the_variables() -> None:
    entry: Any = {"asked": {"options": {"a": 1}, "version": None, "min_kv_tokens": 0}}
    assert switch.as_asked(entry) == {"options": {"a": 1}, "min_kv_tokens": 0}
