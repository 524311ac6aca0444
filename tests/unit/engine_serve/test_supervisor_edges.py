# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change of the serving that lasts is told once, and one that does not last is not told."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor import contract, edges
from supervisor.edges import UP, Memory, Patience, Seen

AFTER, SETTLE = 60, 120
PATIENCE = Patience(AFTER, SETTLE)
SERVES, FAILING = Seen(contract.SERVING, tcp=False), Seen(contract.SERVING, failing=True, tcp=False)
BEHIND = Seen(contract.WAITING, behind=True)
WAITS, LOADS = Seen(contract.WAITING), Seen(contract.STARTING)
FAILED, ENDS, GAVE_UP = Seen(contract.FAILED), Seen(contract.STOPPED), Seen(contract.GAVE_UP)
OVER_TCP, REFUSED = Seen(contract.SERVING, tcp=True), Seen(contract.FAILED, tcp=True)


def told(memory: Memory, *lasting: tuple[Seen, int], since: int = 1000) -> list[tuple[int, str]]:
    """What is told of what lasts for so many seconds each, looked at every second; with the second of each."""
    found, now = [], since
    for seen, seconds in lasting:
        for _second in range(seconds):
            found += [(now - since, event) for event in edges.step(memory, seen, now, PATIENCE)]
            now += 1
    return found


@pytest.mark.parametrize(
    ("before", "lasting", "events"),
    [
        ("", [(WAITS, 30), (LOADS, 4000), (SERVES, 1000)], []),
        ("", [(WAITS, 300)], []),
        ("", [(WAITS, 1000)], [(300, "down")]),
        ("", [(WAITS, 200), (LOADS, 10), (WAITS, 200)], []),
        # another engine loads first
        ("", [(WAITS, 200), (BEHIND, 4000), (WAITS, 200), (LOADS, 100), (SERVES, 500)], []),
        ("", [(BEHIND, 4000), (WAITS, 301)], [(4300, "down")]),
        (UP, [(BEHIND, 100)], [(60, "down")]),
        ("", [(LOADS, 100), (FAILED, 1), (WAITS, 5), (LOADS, 100)], [(160, "down")]),
        ("", [(LOADS, 100), (FAILED, 1), (LOADS, 30), (SERVES, 900)], []),
        (UP, [(SERVES, 100), (FAILING, 59), (SERVES, 100)], []),
        (UP, [(SERVES, 100), (FAILING, 61)], [(160, "down")]),
        (UP, [(FAILING, 30), (FAILED, 1), (WAITS, 5), (LOADS, 100)], [(60, "down")]),
        (UP, [(WAITS, 100), (LOADS, 100), (SERVES, 119)], [(60, "down")]),
        (UP, [(WAITS, 100), (LOADS, 100), (SERVES, 300)], [(60, "down"), (320, "recovered")]),
        # one that comes and goes
        (UP, [(FAILING, 90), (SERVES, 110)] * 9, [(60, "down")]),
        (UP, [*[(FAILING, 90), (SERVES, 110)] * 9, (SERVES, 11)], [(60, "down"), (1810, "recovered")]),
        (UP, [(FAILING, 50), (SERVES, 1)] * 9, []),
        # the end
        (UP, [(WAITS, 10), (GAVE_UP, 50)], [(10, "gave_up")]),
        (UP, [(WAITS, 100), (GAVE_UP, 50)], [(60, "down"), (100, "gave_up")]),
        ("", [(LOADS, 10), (FAILED, 1), (GAVE_UP, 500)], [(11, "gave_up")]),
        ("gave_up", [(GAVE_UP, 500), (LOADS, 500), (SERVES, 200)], [(1120, "recovered")]),
        # asked to end
        (UP, [(ENDS, 1000)], []),
        ("down", [(ENDS, 1000)], []),
    ],
)
def test_what_is_told_of_a_serving(before: str, lasting: list, events: list) -> None:
    assert told(Memory(before), *lasting) == events


@pytest.mark.parametrize(
    ("lasting", "events"),
    [
        ([(SERVES, 500)], []),
        ([(OVER_TCP, 500)], [(0, "tcp")]),
        ([(LOADS, 50), (REFUSED, 1), (LOADS, 50)], [(50, "tcp")]),
        ([(OVER_TCP, 50), (LOADS, 20), (OVER_TCP, 50)], [(0, "tcp")]),
        ([(OVER_TCP, 50), (LOADS, 20), (SERVES, 119)], [(0, "tcp")]),
        ([(OVER_TCP, 50), (LOADS, 20), (Seen(contract.SERVING), 500)], [(0, "tcp")]),  # nobody has judged it
        ([(OVER_TCP, 50), (LOADS, 20), (SERVES, 200)], [(0, "tcp"), (190, "rdma")]),
        ([(OVER_TCP, 50), (LOADS, 20), (SERVES, 100), (OVER_TCP, 50), (SERVES, 100)], [(0, "tcp")]),
        ([(OVER_TCP, 5), (SERVES, 121), (OVER_TCP, 5)], [(0, "tcp"), (125, "rdma"), (126, "tcp")]),
    ],
)
def test_what_is_told_of_its_transport(lasting: list, events: list) -> None:
    assert [one for one in told(Memory(UP), *lasting) if one[1] in ("tcp", "rdma")] == events


@pytest.mark.parametrize(
    ("before", "last_phase", "same", "events", "after"),
    [
        ("", "", False, ["heartbeat"], ""),
        (UP, "stopped", True, ["heartbeat"], ""),
        (UP, "serving", True, [], UP),  # a crash
        (UP, "failed", True, [], UP),
        ("", "waiting", True, [], ""),
        ("down", "failed", True, [], "down"),
        ("down", "stopped", True, ["heartbeat"], "down"),
        ("gave_up", "gave up", True, ["heartbeat"], "down"),
        (UP, "serving", False, ["heartbeat"], ""),  # another configuration, and the last one was killed
    ],
)
def test_a_start_on_purpose_has_a_heartbeat(
    before: str, last_phase: str, same: bool, events: list[str], after: str
) -> None:
    memory = Memory(before, since=7.0)
    assert edges.started(memory, last_phase, same) == events
    assert (memory.told, memory.since) == (after, 0.0 if events else 7.0)


def test_one_that_gives_up_again_after_a_start_on_purpose_says_so_again() -> None:
    memory = Memory(UP)
    assert told(memory, (GAVE_UP, 5)) == [(0, "gave_up")]
    edges.started(memory, contract.GAVE_UP, True)
    assert told(memory, (LOADS, 20), (FAILED, 1), (GAVE_UP, 9)) == [(21, "gave_up")]


def test_a_clock_that_was_set_back_begins_anew() -> None:
    memory = Memory(UP)
    assert told(memory, (WAITS, 50), since=100_000) == []
    assert told(memory, (WAITS, 61), since=1000) == [(60, "down")]


ANY = st.sampled_from([SERVES, FAILING, WAITS, LOADS, FAILED, ENDS, OVER_TCP, REFUSED])
HISTORIES = st.lists(st.tuples(ANY, st.integers(1, 400)), max_size=12)
PAIRS = ({"down", "gave_up"}, {"recovered"}), ({"tcp"}, {"rdma"})


@given(st.sampled_from(["", UP]), HISTORIES)
def test_no_two_like_changes_follow_one_another(before: str, lasting: list[tuple[Seen, int]]) -> None:
    events = [event for _second, event in told(Memory(before), *lasting)]
    for worse, better in PAIRS:
        kinds = [event in worse for event in events if event in worse | better]
        assert kinds == [index % 2 == 0 for index in range(len(kinds))], events


@given(st.sampled_from(["", UP]), HISTORIES, st.sampled_from([SERVES, FAILING, WAITS, FAILED]))
def test_what_lasts_is_told_in_the_end(before: str, lasting: list[tuple[Seen, int]], last: Seen) -> None:
    """Whatever was before, who reads only the messages knows what is so."""
    events = [event for _second, event in told(Memory(before), *lasting, (last, 1 + max(SETTLE, int(edges.FIRST_S))))]
    serving = [event for event in events if event in ("down", "recovered")]
    assert (serving[-1:] == ["down"]) == (not last.serves)


@given(st.sampled_from(["", UP, "down", "gave_up"]), HISTORIES)
def test_a_change_is_told_when_it_has_lasted_and_not_before(before: str, lasting: list[tuple[Seen, int]]) -> None:
    memory = Memory(before)
    history: list[Seen] = []
    for seen, seconds in lasting:
        for _second in range(seconds):
            history.append(seen)
            for event in edges.step(memory, seen, 1000.0 + len(history), PATIENCE):
                needed = {"down": AFTER, "recovered": SETTLE, "rdma": SETTLE}.get(event, 0)
                last = history[-needed - 1 :]
                good = event in ("recovered", "rdma")
                assert event == "tcp" or all(one.serves == good for one in last)


@given(st.sampled_from(["", UP, "down", "gave_up"]), HISTORIES)
def test_what_is_remembered_outlives_the_supervisor_as_json(before: str, lasting: list[tuple[Seen, int]]) -> None:
    one, now = Memory(before), 1000.5
    for seen, seconds in lasting:
        for _second in range(seconds):
            other = Memory(**json.loads(json.dumps(asdict(one))))
            assert edges.step(other, seen, now, PATIENCE) == edges.step(one, seen, now, PATIENCE)
            assert other == one
            now += 1
