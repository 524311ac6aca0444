# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a measurement means: each fault by its own name and with its mend, and none where there is none."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._nccl import judge, report
from nccl_support import BOTH, asked, network, ran, row, text

SMALL = {
    name: [judge.Link("enp1s0f0np0", BOTH[0], 1500), judge.Link("enP2p1s0f0np0", BOTH[1], 1500)]
    for name in ("spark1", "spark2")
}
TCP = network("spark-aaaa", "Socket") + network("spark-bbbb", "Socket")
HALF = network("spark-aaaa") + network("spark-bbbb", devices=BOTH[:1])
MEMLOCK = "spark-bbbb:1:2 [0] NCCL WARN Call to ibv_reg_mr_iova2 failed with error Cannot allocate memory\n"


def outcome(one: judge.Ran, how: judge.Asked | None = None) -> str:
    return judge.outcome(judge.problems({"all_gather": one}, how or asked()))


@pytest.mark.parametrize("busbw", [21.9, 22.7, 24.0])
def test_what_is_fast_enough_is_sound(busbw: float) -> None:
    assert outcome(ran(text(busbw))) == "sound"
    assert judge.doubts({"all_gather": ran(text(busbw))}, asked()) == []


@pytest.mark.parametrize(
    ("one", "how", "what", "words"),
    [
        (ran(text(1.5, TCP)), {}, "tcp", ["spark1 talks over TCP and not over RDMA", "ibdev2netdev"]),
        (ran(text(11.3, HALF)), {}, "half down", ["spark2 does not use roceP2p1s0f0", "reseat the cable"]),
        (ran(text(11.3)), {}, "half down", ["reaches 11.3 GB/s", "21.875 are wanted", "about half"]),
        (ran(text(20.5)), {"links": SMALL}, "mtu", ["is below 4200 (spark1: enP2p1s0f0np0 1500", "MTU of 9000"]),
        (ran(text(20.5)), {}, "slow", ["nothing else uses the fabric", "nccl_tests_min_busbw"]),
        (ran(text(1.6)), {}, "bad state", ["take the power out"]),
        (ran(text(22.7, wrong="12")), {}, "wrong values", ["first at 1048576 bytes", "xid"]),
        (
            ran(text(rows="", end=False), timed_out=True, seconds=600.0),
            {},
            "hang",
            ["after 600 s, before its first size", "no firewall"],
        ),
        (
            ran(text(rows=row(8, 0.01, time_us=28), end=False), timed_out=True, seconds=600.0),
            {},
            "hang",
            ["after the size of 8 bytes", "a link went away"],
        ),
        (ran(text(rows="", end=False) + MEMLOCK, status=3), {}, "failed", ["may not lock enough memory"]),
        (ran(text(rows="", end=False), status=3), {}, "failed", ["it ended with 3 and said nothing of it"]),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_each_fault_is_named_with_its_mend(one: judge.Ran, how: dict[str, Any], what: str, words: list[str]) -> None:
    found = judge.problems({"all_gather": one}, asked(**how))
    assert judge.outcome(found) == what
    said = " ".join(problem.text for problem in found)
    assert [word for word in words if word not in said] == [], said


def test_tcp_is_told_once_a_node_and_not_as_slow_too() -> None:
    found = judge.problems({name: ran(text(1.5, TCP)) for name in ("all_reduce", "all_gather")}, asked())
    assert [one.what for one in found] == ["tcp", "tcp"]


def test_a_rank_s_own_words_explain_its_tcp() -> None:
    why = "dgx-spark: rank 1 on spark2 is without RDMA: /dev/infiniband has no uverbs0\n"
    found = judge.problems(
        {"all_gather": ran(why + text(1.5, network("spark-aaaa") + network("spark-bbbb", "Socket")))}, asked()
    )
    assert "/dev/infiniband has no uverbs0" in found[0].text


def test_tcp_is_no_fault_where_rdma_is_not_required() -> None:
    assert outcome(ran(text(1.5, TCP)), asked(require_rdma=False, min_busbw=1.0)) == "sound"


def test_a_ring_is_measured_by_its_own_threshold() -> None:
    assert outcome(ran(text(11.0)), asked(ring=True)) == "sound"
    assert outcome(ran(text(9.0)), asked(ring=True)) == "slow"


def test_small_sizes_alone_are_not_judged_by_their_speed() -> None:
    one = ran(text(rows=row(8, 0.01, time_us=28)))
    assert outcome(one) == "sound"
    assert any("its speed is not judged" in doubt for doubt in judge.doubts({"all_gather": one}, asked()))


def test_what_is_worth_knowing() -> None:
    slow = ran(text(rows=row(8, 0.01, time_us=900) + row(1 << 30, 22.7)))
    doubts = judge.doubts({"all_gather": slow}, asked(links=SMALL))
    assert [word for word in ("takes 900 µs", "1024 bytes a packet") if not any(word in one for one in doubts)] == []


def measured(**values: Any) -> dict[str, Any]:
    """As the leader's container gives it back."""
    ended = {"status": 0, "timed_out": False, "seconds": 12.0, "argv": ["mpirun"]}
    result = {"problem": "", "origin": "built", "operations": {"all_gather": ended}, "left_out": []}
    return {"result": result, "outputs": {"all_gather": text()}, "log": [], **values}


def test_a_report_of_a_sound_measurement() -> None:
    plan = {"base_image": "x", "image": {"name": "y"}, "virtual": False}
    found = report.report(measured(), asked(), plan, {}, 0.0)
    assert (found["outcome"], found["problems"], found["doubts"]) == ("sound", [], [])
    assert found["summary"][0] == {
        "operation": "all_gather",
        "busbw": 22.7,
        "wanted": 21.875,
        "latency_us": 28.0,
        "seconds": 12.0,
        "whole": True,
        "wrong": 0,
    }
    assert report.text(found)[0] == "NCCL between spark1 and spark2: sound"
    found = report.report(measured(), asked(), {**plan, "virtual": True}, {}, 0.0)
    assert report.text(found)[0] == report.VIRTUAL


@pytest.mark.parametrize(
    ("values", "what", "words"),
    [
        ({"result": {"problem": "spark2 does not let MPI in"}}, "not started", "spark2 does not let MPI in"),
        ({"result": {}, "log": ["no such file"]}, "not started", "no such file"),
        (
            {"result": {"operations": {}, "left_out": ["all_gather", "sendrecv"]}, "log": ["Terminated"]},
            "failed",
            "all_gather and sendrecv was not measured",
        ),
    ],
)
def test_a_measurement_that_did_not_come_to_it(values: dict[str, Any], what: str, words: str) -> None:
    found = report.report(measured(**values), asked(), {}, {}, 0.0)
    assert found["outcome"] == what
    assert words in found["problems"][0]["text"]


def test_a_fabric_that_is_not_as_planned_is_noted() -> None:
    stale = {"spark1": [{"name": "Write the netplan file"}], "spark2": []}
    found = report.report(measured(), asked(), {}, stale, 0.0)
    assert found["doubts"] == ["spark1 is not as cx7_network plans it, which may be why: Write the netplan file"]
