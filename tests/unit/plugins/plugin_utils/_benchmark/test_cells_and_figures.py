# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which loads a profile is, what a run's figures are, and which differences are named."""

from __future__ import annotations

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import benchmark_cases as cases
import jsonschema
import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import (
    cells,
    compare,
    document,
    figures,
    session,
)
from hypothesis import given
from hypothesis import strategies as st

# What is measured


@pytest.mark.parametrize(
    ("profile", "prompts", "given_tokens", "wanted_tokens"),
    [
        ("quick", 10, 128, 128),
        ("short", 50, 256, 256),
        ("medium", 100, 512, 512),
        ("long", 200, 1024, 1024),
        ("throughput", 500, 256, 256),
        ("latency", 100, 128, 128),
        ("stress", 1000, 512, 512),
    ],
)
def test_the_profiles_are_those_that_people_know(
    profile: str, prompts: int, given_tokens: int, wanted_tokens: int
) -> None:
    (one,) = cells.cells(profile, {})
    assert (one.requests, one.input, one.output) == (prompts, given_tokens, wanted_tokens)
    assert (one.rate > 0) == (profile == "latency")


def test_the_communitys_profile_is_pp_2048_and_tg_128_over_depths() -> None:
    some = cells.cells("community", {})
    assert {(one.input, one.output) for one in some} == {(2048, 128)}
    assert sorted({one.depth for one in some}) == [0, 4096, 8192, 16384, 32768, 65535, 100000]
    assert sorted({one.concurrency for one in some}) == [1, 2, 5, 10]
    assert len(some) == 28
    assert all(one.requests == 3 * one.concurrency for one in some)


def test_a_sweep_is_given_as_a_list_or_with_commas() -> None:
    for asked in ([1, 8, 32], "1,8,32", ["1", 8, " 32"]):
        assert [one.concurrency for one in cells.cells("quick", {"concurrency": asked})] == [1, 8, 32]
    assert [one.requests for one in cells.cells("quick", {"concurrency": [1, 32]})] == [10, 32], "one each at least"


@pytest.mark.parametrize(
    ("profile", "asked", "words"),
    [
        ("fast", {}, "benchmark_profile is 'fast', and the profiles are quick, "),
        ("custom", {"input": 1}, "give benchmark_output and benchmark_requests"),
        ("quick", {"concurrency": 0}, "benchmark_concurrency is 0: give a whole number from 1 to 4096"),
        ("quick", {"concurrency": "1;8"}, "benchmark_concurrency is '1;8'"),
        ("quick", {"concurrency": []}, "benchmark_concurrency is empty"),
        ("quick", {"output": 1.5}, "benchmark_output is 1.5"),
        ("quick", {"rate": "fast"}, "benchmark_rate is 'fast'"),
        ("quick", {"input": "9" * 5000}, "benchmark_input is '999"),
        ("quick", {"input": list(range(1, 100)), "output": list(range(1, 100))}, "has 9801 cells, more than 1000"),
    ],
)
def test_what_cannot_be_measured_is_refused(profile: str, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(cells.CellsError, match=r".") as error:
        cells.cells(profile, asked)
    assert words in str(error.value)


@given(st.integers(1, 6), st.integers(0, 2**31), st.integers(1, 5))
def test_every_load_comes_once_in_every_round(runs: int, seed: int, count: int) -> None:
    some = [dataclasses.replace(cases.QUICK, concurrency=number + 1) for number in range(count)]
    order = cells.jobs(some, runs, seed)
    for run in range(runs):
        part = order[run * count : (run + 1) * count]
        assert {job.run for job in part} == {run + 1}
        assert {job.cell for job in part} == set(some)
    assert order == cells.jobs(some, runs, seed)


def test_the_seed_of_a_run_depends_on_no_other_load() -> None:
    alone = cells.jobs([cases.QUICK], 2, 1)
    others = [dataclasses.replace(cases.QUICK, concurrency=number) for number in (1, 2, 4)]
    assert {job.seed for job in alone} <= {job.seed for job in cells.jobs(others, 2, 1)}


# Figures


def test_figures_are_those_of_the_definitions() -> None:
    cell = dataclasses.replace(cases.QUICK, output=11, concurrency=2)
    made = figures.of_run([cases.request(100, 10, cell), cases.request(300, 20, cell, 50)], figures.Slo())
    assert made["duration_s"] == pytest.approx(0.55)  # from the first request's start to the last one's end
    assert made["ttft_ms"]["p50"] == 200
    assert made["tpot_ms"]["mean"] == pytest.approx(15)
    assert made["itl_ms"]["max"] == 20
    assert made["e2e_ms"]["max"] == 500
    assert made["request_throughput"] == pytest.approx(2 / 0.55)
    assert made["output_token_throughput"] == pytest.approx(22 / 0.55)
    assert made["total_token_throughput"] == pytest.approx((22 + 256) / 0.55)
    assert made["goodput"] is None


def test_goodput_counts_requests_that_keep_every_limit() -> None:
    cell = dataclasses.replace(cases.QUICK, output=11)
    some = [cases.request(100, 10, cell), cases.request(300, 10, cell, 200), cases.request(100, 30, cell, 600)]
    made = figures.of_run(some, figures.Slo(ttft_ms=200, tpot_ms=20))
    assert made["goodput_share"] == pytest.approx(1 / 3)
    assert made["goodput"] == pytest.approx(1 / made["duration_s"])


def test_a_piece_with_several_tokens_is_told() -> None:
    one = cases.request(100, 20, cases.QUICK)._replace(gaps_ms=(20.0,) * 7)
    assert figures.of_run([one], figures.Slo())["tokens_a_piece"] == 2


def test_one_token_has_no_time_per_token() -> None:
    cell = dataclasses.replace(cases.QUICK, output=1)
    made = figures.of_run([cases.request(100, 10, cell)], figures.Slo(tpot_ms=5))
    assert made["tpot_ms"] is None
    assert made["goodput_share"] == 0


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=50))
def test_percentiles_lie_between_the_ends(values: list[float]) -> None:
    made = figures.spread_of(values)
    assert made is not None
    slack = 1e-9 * made["max"]
    assert (
        made["min"] - slack <= made["p50"] <= made["p90"] + slack <= made["p99"] + 2 * slack <= made["max"] + 3 * slack
    )
    assert made["p50"] == pytest.approx(statistics.median(values))


def test_a_failed_run_gives_no_figures_and_no_good_cell() -> None:
    found = cases.result()
    assert (found["good"], found["cells"][0]["over_runs"]["ttft_p50_ms"]["runs"]) == (True, 3)
    broken = {**found["cells"][0]["runs"][1], "good": False, "problems": ["3 of 10 requests: 503"], "figures": None}
    after = document.with_run(found, cases.QUICK.key, broken, 3)
    assert (after["good"], after["cells"][0]["good"]) == (False, False)
    assert after["cells"][0]["over_runs"]["ttft_p50_ms"]["runs"] == 2
    assert session.resumed(after) == {(cases.QUICK.key, 1), (cases.QUICK.key, 3)}
    assert "NOT GOOD" in document.table(after)
    assert f"  {cases.QUICK.key}, run 2: 3 of 10 requests: 503" in document.table(after)


def test_a_result_has_the_published_shape() -> None:
    schema = json.loads((Path(__file__).parents[5] / "docs" / "benchmark.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    made = cases.result()
    jsonschema.validate(made, schema)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    for path in ((), ("cells", 0), ("cells", 0, "runs", 0), ("cells", 0, "runs", 0, "figures"), ("before",)):
        made = cases.result()
        place: Any = made
        for step in path:
            place = place[step]
        place["more"] = 1
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(made, schema)


def test_a_table_of_virtual_sparks_says_so_first() -> None:
    assert document.table(cases.result(virtual=True))[0] == document.VIRTUAL


# Comparison


@pytest.mark.parametrize("seed", range(20))
def test_two_results_of_the_same_do_not_differ(seed: int) -> None:
    one, other = cases.result(seed=seed), cases.result(seed=seed + 1000)
    assert compare.told(compare.differences(one, other)) == ["no difference exceeds the spread"]


@pytest.mark.parametrize("seed", range(20))
def test_a_fifth_slower_is_named(seed: int) -> None:
    found = compare.differences(cases.result(seed=seed), cases.result(seed=seed + 1000, slower=1.2))
    assert {one.says for one in found} == {compare.WORSE}
    assert {one.says for one in compare.differences(cases.result(slower=1.2), cases.result())} == {compare.BETTER}
    assert any("time per output token, mean" in line and line.endswith("worse") for line in compare.told(found))


def test_noise_as_large_as_the_difference_names_nothing() -> None:
    cell = dataclasses.replace(cases.QUICK, requests=1)
    one, other = (cases.result([cell], noise=0.3, seed=seed, slower=by) for seed, by in ((1, 1.0), (2, 1.1)))
    assert compare.told(compare.differences(one, other)) == ["no difference exceeds the spread"]


def test_what_the_client_itself_adds_is_no_difference() -> None:
    cell = dataclasses.replace(cases.QUICK, requests=4)

    def ttft(slower: float, at_once: int) -> str:
        some = [dataclasses.replace(cell, concurrency=at_once)]
        found = compare.differences(cases.result(some, noise=0), cases.result(some, noise=0, slower=slower))
        return next(one.says for one in found if one.metric.name == "ttft_p50_ms")

    assert (ttft(1.025, 1), ttft(1.06, 1), ttft(1.06, 32)) == (compare.SAME, compare.WORSE, compare.SAME)


def test_one_run_tells_nothing() -> None:
    (line,) = compare.told(compare.differences(cases.result(runs=1), cases.result(runs=1, slower=2)))
    assert "cannot be told: one run has no spread" in line


def test_virtual_sparks_are_compared_with_none_of_hardware() -> None:
    with pytest.raises(compare.CompareError, match="v was measured on virtual Sparks, and r was not"):
        compare.differences(cases.result(name="r"), cases.result(name="v", virtual=True))
    assert compare.differences(cases.result(virtual=True), cases.result(virtual=True))


def test_other_loads_are_compared_with_none() -> None:
    other = [dataclasses.replace(cases.QUICK, input=64)]
    with pytest.raises(compare.CompareError, match="no load in common"):
        compare.differences(cases.result(), cases.result(other))


def test_what_else_differs_is_told() -> None:
    one = cases.result()
    other = cases.result(model={**one["model"], "commit": "f" * 40})
    assert compare.provenance(one, one) == []
    assert compare.provenance(one, other) == [f"model commit: {one['model']['commit']} -> {'f' * 40}"]
