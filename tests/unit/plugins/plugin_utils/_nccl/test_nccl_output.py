# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of nccl-tests as data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._nccl import judge, output
from hypothesis import given
from hypothesis import strategies as st
from nccl_support import BOTH, NAMES, asked, network, row, text

FIXTURES = Path(__file__).parents[3] / "fixtures" / "nccl_tests"


def test_a_whole_run() -> None:
    found = output.parse(text())
    assert (found.version, output.dotted(found.headers), output.dotted(found.library)) == ("2.19.6", "2.28.9", "2.28.9")
    assert [(one.rank, one.host, one.gpu) for one in found.ranks] == [
        (0, "spark-aaaa", "NVIDIA GB10"),
        (1, "spark-bbbb", "NVIDIA GB10"),
    ]
    assert [one.size for one in found.rows] == [8, 1 << 20, 1 << 30]
    assert found.rows[-1].out_of_place.busbw == 22.7
    assert found.rows[-1].operation == "none"
    assert (found.out_of_bounds, found.average, found.wrong) == (0, 11.35, 0)
    assert found.whole
    assert found.networks == {name: output.Network("IB", BOTH) for name in ("spark1", "spark2")}
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        # As sendrecv prints it: nobody looks at what is in place.
        (
            "  1048576  262144  float    none      -1    59.57   17.60   17.60       0    59.31   17.68   17.68    N/A",
            None,
        ),
        (
            "  1048576  262144  float     sum      -1    59.57   17.60   17.60       0    59.31   17.68   17.68      7",
            7,
        ),
        (
            "  1048576  262144  float     sum      -1    59.57   17.60   17.60       0    59.31   17.68   17.68  1e+06",
            10**6,
        ),
        (
            "  1048576  262144  float     sum       0  1.2e+05   17.60   17.60       0    59.31   17.68   17.68      0",
            0,
        ),
        (
            "  1048576  262144  float     sum      -1    59.57   17.60   17.60       0    59.31   17.68   17.68    nan",
            1,
        ),
        (
            "  1048576  262144  bfloat16  avg      -1    59.57   17.60   17.60       0      inf     nan    -nan      0",
            0,
        ),
    ],
)
def test_rows_of_every_kind(line: str, wrong: int | None) -> None:
    (found,) = output.parse(line).rows
    assert found.size == 1 << 20
    assert found.in_place.wrong == wrong


def test_a_line_of_nccl_behind_something_without_an_end_counts() -> None:
    found = output.parse(f"{NAMES}# 40it/s{network('spark-bbbb')}")
    assert list(found.networks) == ["spark2"]


def test_a_build_that_names_no_devices_names_its_network() -> None:
    found = output.parse(f"{NAMES}spark-aaaa:1:2 [0] NCCL INFO Using network Socket\n")
    assert found.networks == {"spark1": output.Network("Socket")}


def test_why_a_rank_is_without_rdma() -> None:
    why = "dgx-spark: rank 1 on spark2 is without RDMA: no uverbs\n"
    found = output.parse(NAMES + why + network("spark-bbbb", "Socket"))
    assert found.networks["spark2"] == output.Network("Socket", ("enp1s0f0np0",), "no uverbs")


def test_a_size_that_the_memory_does_not_hold() -> None:
    found = output.parse("#\n# Reducing maxBytes to 1073741824 due to memory limitation\n")
    assert found.reduced_to == 1 << 30


def test_errors_are_kept_and_not_all_of_them() -> None:
    line = (
        "spark-aaaa: Test NCCL failure common.cu:1005 'unhandled system error (run with NCCL_DEBUG=INFO for details)'\n"
    )
    found = output.parse(line * 9)
    assert len(found.errors) == output.MOST_ERRORS
    assert not found.whole


@given(st.text(max_size=400))
def test_whatever_is_printed_is_read(printed: str) -> None:
    json.dumps(output.parse(printed).to_json(), allow_nan=False)


@given(st.integers(0, 400), st.text(max_size=40), st.integers(0, 2000))
def test_an_output_that_is_damaged_anywhere_is_read(place: int, junk: str, cut: int) -> None:
    whole = text()
    json.dumps(output.parse((whole[:place] + junk + whole[place + 5 :])[: len(whole) - cut]).to_json(), allow_nan=False)


@given(st.integers(1, 1 << 40), st.floats(0.01, 900, allow_nan=False), st.integers(0, 10**6))
def test_what_was_printed_comes_back(size: int, busbw: float, wrong: int) -> None:
    (found,) = output.parse(row(size, busbw, str(wrong), 12.5)).rows
    assert (found.size, found.out_of_place.busbw, found.out_of_place.wrong) == (size, round(busbw, 2), wrong)


@pytest.mark.parametrize(
    ("name", "rows", "busbw", "latency_us"),
    [("all_reduce", 28, 1.86, 4553.94), ("all_gather", 28, 1.86, 2276.01), ("sendrecv", 28, 1.82, 2280.9)],
)
def test_what_the_real_programs_print(name: str, rows: int, busbw: float, latency_us: float) -> None:
    found = output.parse(fixture(name))
    assert (len(found.rows), found.out_of_bounds, found.errors) == (rows, 0, [])
    assert found.whole
    assert (judge.best(found), judge.latency_us(found)) == (busbw, latency_us)
    assert found.networks == dict.fromkeys(("spark1", "spark2"), output.Network("Socket", ("lo",)))
    assert [one.gpu for one in found.ranks] == ["NVIDIA H200"] * 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nosock", "NCCL_SOCKET_IFNAME names a network device that is not there"),
        ("noib", "NCCL found no RoCE device"),
        ("killed", "a rank ended first"),
        ("no_kernel", "built for another GPU"),
    ],
)
def test_how_the_real_programs_fail(name: str, words: str) -> None:
    one = judge.Ran(output.parse(fixture(name)), status=3)
    problems = judge.problems({"all_gather": one}, asked())
    assert problems[0].what == "failed"
    assert words in problems[0].text


def test_a_real_rank_that_was_stopped_hangs() -> None:
    one = judge.Ran(output.parse(fixture("stopped")), status=143, timed_out=True, seconds=25)
    problems = judge.problems({"all_reduce": one}, asked())
    assert (problems[0].what, "before its first size" in problems[0].text) == ("hang", True)


def fixture(name: str) -> str:
    return (FIXTURES / f"{name}.txt").read_text()
