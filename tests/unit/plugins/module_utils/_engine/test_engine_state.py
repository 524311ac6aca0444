# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a supervisor's state, and a Swarm's tasks, say of a serving."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import state

IB, TCP = {"transport": "IB", "devices": "[0]rocep1s0f0:1/RoCE"}, {"transport": "Socket", "devices": "[0]enp1s0f0np0"}


@pytest.mark.parametrize(
    ("about", "settled", "says"),
    [
        ({}, False, ["have not started"]),
        ({"config": "old", "phase": "serving"}, False, ["have not started"]),
        (
            {"config": "new", "phase": "waiting", "reason": "spark2 does not answer"},
            False,
            ["waiting: spark2 does not"],
        ),
        ({"config": "new", "phase": "failed", "reason": "mpirun ended"}, False, ["failed: mpirun ended"]),
        ({"config": "new", "phase": "gave up", "reason": "5 starts failed"}, True, ["gave up: 5 starts failed"]),
        ({"config": "new", "phase": "serving", "ranks": {"spark1": IB, "spark2": IB}}, True, []),
        (
            {"config": "new", "phase": "serving", "ranks": {"spark1": IB, "spark2": TCP}},
            True,
            ["rank 1 on spark2.*Socket"],
        ),
        ({"config": "new", "phase": "serving", "ranks": {"spark2": IB}}, True, ["rank 0 on spark1: NCCL named no"]),
    ],
)
def test_what_a_state_says(about: dict[str, Any], settled: bool, says: list[str]) -> None:
    found, problems = state.problems_of(about, "new", ["spark1", "spark2"], require_rdma=True)
    assert found == settled
    assert len(problems) == len(says)
    assert all(re.search(pattern, problem) for pattern, problem in zip(says, problems))


@pytest.mark.parametrize(
    ("about", "settled", "says"),
    [
        ({}, False, "have not started"),
        ({"phase": "stopped", "reason": "x"}, False, "have not started"),
        ({"config": "any", "phase": "waiting", "reason": "for spark2"}, False, "waiting: for spark2"),
        ({"config": "any", "phase": "serving"}, True, None),
    ],
)
def test_whatever_is_configured_may_be_waited_for(about: dict[str, Any], settled: bool, says: str | None) -> None:
    found, problems = state.problems_of(about, "", ["spark1"], require_rdma=False)
    assert found == settled
    assert problems == [] if says is None else says in problems[0]


def test_without_a_fabric_no_rdma_is_asked_for() -> None:
    about = {"config": "new", "phase": "serving", "ranks": {}}
    assert state.problems_of(about, "new", ["spark1"], require_rdma=False) == (True, [])


NO_IMAGE = {
    "name": "t_worker",
    "node": "spark2",
    "state": "rejected",
    "wanted": "shutdown",
    "error": "No such image",
    "at": 8,
}


@pytest.mark.parametrize(
    ("tasks", "says"),
    [
        ([NO_IMAGE, {**NO_IMAGE, "at": 13}], ["t_worker on spark2 is rejected: No such image"]),
        ([NO_IMAGE], []),
        ([{**NO_IMAGE, "at": 1}, {**NO_IMAGE, "at": 4}], []),
        ([{**NO_IMAGE, "state": "failed"}, {**NO_IMAGE, "state": "failed"}], []),
        ([{**NO_IMAGE, "state": "pending", "wanted": "running", "at": 30}], []),
        ([{**NO_IMAGE, "state": "pending", "wanted": "shutdown", "at": 5}], []),
    ],
    ids=["again and again", "once", "long ago", "the supervisor counts these", "just now", "is not wanted any more"],
)
def test_tasks_that_cannot_start(tasks: list[dict[str, Any]], says: list[str]) -> None:
    assert state.unstartable(tasks, since=5, now=40) == says


def test_an_inventory_of_addresses_is_told_apart() -> None:
    names = ["192.168.1.21", "192.168.1.22"]
    about = {"config": "a", "phase": "serving", "ranks": {"192-168-1-21": IB, "192-168-1-22": IB}}
    assert state.problems_of(about, "a", names, True) == (True, [])
