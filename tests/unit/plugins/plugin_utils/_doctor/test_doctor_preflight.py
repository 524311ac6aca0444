# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ready, ready but slow, or blocked: and never ready for what could not be looked at."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor import judge, preflight
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.preflight import (
    IS_BLOCKED,
    READY,
    READY_BUT_SLOW,
    Move,
)
from doctor_cases import MEMBERS, damaged, pair

MODEL = Move("spark2", "lab/tiny", 134_200_000_000, "copy")


def of(changes: dict[str, Any], *moves: Move, **refusals: list[str]) -> preflight.Answer:
    return preflight.answer(judge.judge(damaged(changes), MEMBERS), moves, refusals)


@pytest.mark.parametrize(
    ("changes", "moves", "answer"),
    [
        ({}, [], READY),
        ({}, [Move("spark1", "x", 0, "pull")], READY),
        ({}, [MODEL], READY_BUT_SLOW),
        ({"spark1.read.dpkg.locked": True}, [], READY_BUT_SLOW),
        ({"spark1.read.links.0.speed_mbps": 100000}, [], READY_BUT_SLOW),
        ({"spark1.read.host.hostname": "spark2"}, [MODEL], IS_BLOCKED),
        ({"spark1.read.memory.available_mib": 10}, [], IS_BLOCKED),
        ({"spark2": {"why": "timed out"}}, [], IS_BLOCKED),
        ({"spark1.read.netplan.0.mode": "0644"}, [], READY),  # a finding that says nothing of serving
    ],
)
def test_the_answer(changes: dict[str, Any], moves: list[Move], answer: str) -> None:
    assert of(changes, *moves).answer == answer


def test_a_refusal_of_a_plan_blocks() -> None:
    found = of({}, spark1=["the cable is out"])
    assert (found.answer, found.lines[0].host, found.lines[0].seen) == (IS_BLOCKED, "spark1", "the cable is out")


def test_what_the_plans_bring() -> None:
    need = {"what": "lab/tiny", "path": "/hf", "filesystem": {}, "step": ""}
    model = {"room": {"spark1": [{**need, "bytes": 10**9}], "spark2": [{**need, "bytes": 2 * 10**9}], "spark3": []}}
    assert preflight.moves_of(MEMBERS, model) == [
        Move("spark1", "lab/tiny", 10**9, "download"),
        Move("spark2", "lab/tiny", 2 * 10**9, "copy"),
    ]
    assert (
        preflight.moves_of(MEMBERS, {})
        == preflight.moves_of(MEMBERS, {"room": {"spark1": [{**need, "bytes": 0}]}})
        == []
    )
    serve = {"changes": {"spark1": [{"name": "Pull the base image"}, {"name": "Write the unit file"}], "spark2": []}}
    assert [line.host for line in preflight.slow_changes(serve)] == ["spark1"]
    assert preflight.answer(judge.judge(pair(), MEMBERS), more=preflight.slow_changes(serve)).answer == READY_BUT_SLOW
    assert preflight.slow_changes({}) == []


def test_what_was_not_looked_at_makes_no_answer_complete() -> None:
    told = pair()
    del told["spark1"]["read"]["memory"]
    found = preflight.answer(judge.judge(told, MEMBERS))
    assert (found.answer, found.complete) == (READY, False)
    assert any("memory_low" in line.seen for line in found.lines)
    assert "as far as could be looked at" in preflight.in_words(found)[0]
    assert preflight.answer(judge.judge(pair(), MEMBERS)).complete


def test_lines_say_who_what_and_what_to_do_and_what_blocks_comes_first() -> None:
    found = of({"spark1.read.dpkg.locked": True, "spark2.read.memory.available_mib": 10}, MODEL)
    lines = preflight.in_words(found)
    assert lines[0] == "blocked; 134.20 GB have to move"
    assert lines[1].startswith("  blocked spark2: Little memory is left: 10 MiB of 122572 are available")
    assert lines[1].endswith("for who computes.")
    assert "  slow    spark2: lab/tiny: 134.20 GB to be copied" in lines
    assert preflight.as_json(found)["lines"][0]["kind"] == "blocked"
    assert preflight.as_json(found)["bytes"] == 134_200_000_000
