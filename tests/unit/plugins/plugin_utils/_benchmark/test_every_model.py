# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which models benchmark_all.yml measures, in which order, and what an interrupt changes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import children, every
from hypothesis import given
from hypothesis import strategies as st

GB = 10**9
ROOM = (100 * GB, 100 * GB)


def model(handle: str, size: int = 10, **change: Any) -> every.Candidate:
    """A model of so many GB that fits, and is on no disk yet."""
    made = every.Candidate(handle, "abc", size * GB, True, "", "", (size * GB,) * 2, 60.0)
    return made._replace(**change)


def states(items: list[every.Item]) -> dict[str, str]:
    return {one.handle: one.state for one in items}


def plan(some: list[every.Candidate], named: bool = False, serves: str = "", **options: Any) -> list[every.Item]:
    given_options = {"done": {}, "room": ROOM, "measure_s": 100.0, **options}
    return every.planned(some, named, serves, **given_options)


def test_what_serves_comes_first_and_then_the_small_ones() -> None:
    some = [model("a/large", 40), model("a/small", 1), model("a/serves", 20)]
    assert [one.handle for one in plan(some, serves="a/serves")] == ["a/serves", "a/small", "a/large"]
    assert [one.handle for one in plan(some, named=True)] == ["a/large", "a/small", "a/serves"], "as they were named"
    assert next(iter(plan(some, True, "a/serves"))).seconds == 100, "it is neither brought nor loaded"
    assert plan(some)[0].seconds == 100 + 60 + every.START_S + 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"refused": "a/b is gated: accept its conditions, and give that account's token"}, "a/b is gated"),
        ({"fits": False, "why": "it takes 200 GB of memory"}, "it does not fit: it takes 200 GB of memory"),
        ({"needed": (10 * GB, 130 * GB)}, "a disk lacks 30.0 GB for it beside the models before it"),
    ],
)
def test_what_cannot_be_switched_in_is_skipped_with_the_reason(change: dict[str, Any], words: str) -> None:
    (one,) = plan([model("a/b", **change)], named=True)
    assert one.state == every.SKIPPED
    assert words in one.why
    (one,) = plan([model("a/b", **change)], named=True, serves="a/b")
    assert one.state == every.MEASURE, "it serves, whatever is told of it"


def test_what_does_not_fit_is_told_only_where_it_was_named() -> None:
    some = [model("a/b", fits=False), model("a/c", fits=None), model("a/d")]
    assert states(plan(some)) == {"a/d": every.MEASURE}
    assert states(plan(some, named=True)) == {"a/b": every.SKIPPED, "a/c": every.MEASURE, "a/d": every.MEASURE}


def test_all_models_together_have_to_have_room() -> None:
    some = [model("a/a", 60), model("a/b", 60), model("a/c", 30)]
    assert states(plan(some, named=True)) == {"a/a": every.MEASURE, "a/b": every.SKIPPED, "a/c": every.MEASURE}


def test_what_has_failed_is_tried_again_only_where_that_is_asked_for() -> None:
    done = {"a/a": {"state": every.FAILED, "why": "it did not load"}, "a/b": {"state": every.MEASURED}}
    some = [model("a/a"), model("a/b"), model("a/c")]
    assert states(plan(some, done=done)) == {"a/a": every.FAILED, "a/b": every.MEASURED, "a/c": every.MEASURE}
    assert plan(some, done=done)[0].why == "it did not load"
    again = states(plan(some, done=done, retry=True))
    assert again == {"a/a": every.MEASURE, "a/b": every.MEASURED, "a/c": every.MEASURE}


MODELS = st.lists(
    st.builds(
        model,
        st.sampled_from([f"lab/m{number}" for number in range(6)]),
        st.integers(0, 70),
        fits=st.sampled_from([True, False, None]),
        refused=st.sampled_from(["", "it is gated"]),
    ),
    max_size=6,
    unique_by=lambda one: one.handle,
)


@given(MODELS, st.booleans(), st.data())
def test_with_interrupts_at_any_moment_each_is_measured_once_and_none_is_lost(
    some: list[every.Candidate], named: bool, data: st.DataObject
) -> None:
    begun = every.begun("all", {"runs": 3}, 0.0)
    first = plan(some, named)
    wanted = [one.handle for one in first if one.state == every.MEASURE]
    assert sum(one.needed[0] or 0 for one in some if one.handle in wanted) <= ROOM[0]
    assert len({one.handle for one in first}) == len(first)
    journal, measured, serves, room = begun, [], "", ROOM
    for _call in range(20):
        todo = [
            one for one in plan(some, named, serves, done=journal["models"], room=room) if one.state == every.MEASURE
        ]
        if not todo:
            break
        stop = data.draw(st.integers(0, len(todo)))
        for one in todo[:stop]:
            journal = every.noted(journal, one.handle, state=every.STARTED, attempt=1)
            measured.append(one.handle)
            journal = every.noted(journal, one.handle, state=every.MEASURED)
            size = next(model.bytes for model in some if model.handle == one.handle)
            room = tuple(have - size for have in room)
            some = [model._replace(needed=(0, 0)) if model.handle == one.handle else model for model in some]
            serves = one.handle
        if stop < len(todo):  # interrupted while that one was measured
            journal = every.noted(journal, todo[stop].handle, state=every.STARTED, attempt=1)
    else:
        return  # all calls were interrupted
    assert sorted(measured) == sorted(wanted)
    assert every.problem(journal) == ""
    last = states(plan(some, named, serves, done=journal["models"], room=room))
    assert {handle for handle, state in last.items() if state == every.MEASURED} == set(wanted)


def test_an_attempt_goes_on_only_with_the_same_engine() -> None:
    started = {"state": every.STARTED, "attempt": 1}
    assert every.attempt(started, goes_on=True) == 1
    assert every.attempt(started, goes_on=False) == 2, "its runs are of an engine that is no more"
    assert every.attempt({"state": every.FAILED, "attempt": 1}, goes_on=True) == 2


def test_a_journal_of_other_settings_is_not_gone_on_with() -> None:
    journal = every.begun("all", {"loads": ["i1-o1-c1"], "runs": 3}, 0.0)
    assert every.mismatch(journal, {"loads": ["i1-o1-c1"], "runs": 3}) == ""
    assert every.mismatch(journal, {"loads": ["i2-o1-c1"], "runs": 3}) == "loads ['i1-o1-c1'], not ['i2-o1-c1']"
    assert every.problem({**journal, "models": {"a/b": 5}}) == "parts are missing"


def test_the_lines_tell_what_how_long_and_why_not() -> None:
    some = [model("a/b"), model("a/gated", refused="a/gated is gated: accept its conditions")]
    head, *rest = every.lines(plan(some, named=True), "quick on 2 Sparks")
    assert head == "BENCHMARK of 2 models, quick on 2 Sparks: 1 to be measured, about 5 min"
    assert rest == [
        "  a/b      to be measured: about 5 min",
        "  a/gated  skipped: a/gated is gated: accept its conditions",
    ]


# The plays of its own


def test_a_child_gets_the_options_of_the_play() -> None:
    told = {"inventory": ["/a.yml", "/b.yml"], "extra_vars": ("a=b c", "@f.yml"), "subset": "spark1", "become": True}
    assert children.arguments({**told, "vault_ids": ["x@/f"], "check": False, "forks": 5}) == [
        *("--forks=5", "--limit=spark1", "--inventory=/a.yml", "--inventory=/b.yml", "--extra-vars=a=b c"),
        *("--extra-vars=@f.yml", "--vault-id=x@/f", "--become"),
    ]


@pytest.mark.parametrize("given_options", [{"ask_vault_pass": True}, {"vault_ids": ["prod@prompt"]}])
def test_a_vaults_password_that_was_typed_is_refused(given_options: dict[str, Any]) -> None:
    with pytest.raises(children.ChildError, match="give it by a file"):
        children.arguments(given_options)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (['fatal: [a]: FAILED! => {"msg": "first"}', 'fatal: [a]: FAILED! => {"msg": "a: last"}', ""], "a: last"),
        (['failed: [a] (item=1) => {"msg": "x"}', 'fatal: [b]: UNREACHABLE! => {"msg": "no way"}'], "b: no way"),
        (["fatal: [a]: FAILED! => {broken", "[ERROR]: no such file"], "no such file"),
        (["PLAY RECAP"], ""),
    ],
)
def test_the_reason_is_the_last_failure(said: list[str], why: str) -> None:
    assert children.reason(said) == why


def run(
    tmp_path: Path, tasks: list[dict[str, Any]], secrets: children.Secrets | None = None, **more: Any
) -> tuple[str, str]:
    """Run tasks in a child. Returns the reason and the log."""
    path, log = tmp_path / "play.yml", tmp_path / "log" / "it.log"
    path.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    env = children.environment({**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"}, tmp_path, [])
    asked: list[str] = []
    with children.alone(tmp_path / "lock", asked.append) as lock:
        why = children.run(
            path, ["--inventory=localhost,"], more, env, secrets or children.Secrets("", ""), log, lock, asked.append
        )
    return why, log.read_text()


def test_a_child_says_why_it_fails_and_gets_variables_and_passwords(tmp_path: Path) -> None:
    said = "{{ word }}, {{ lookup('pipe', 'ps -eo args=') }}"
    tasks = [
        {"name": "It", "debug": {"msg": said}},
        {"name": "Ends", "fail": {"msg": "it is full: {{ word }}"}},
    ]
    why, log = run(tmp_path, tasks, children.Secrets("", "planted-password"), word="two words")
    assert why == "localhost: it is full: two words"
    assert "planted-password" not in log
    assert oct((tmp_path / "log" / "it.log").stat().st_mode & 0o777) == "0o600"
    assert run(tmp_path, [{"name": "It", "debug": {"msg": "good"}}])[0] == ""


def test_a_second_call_waits_until_the_first_ones_child_has_ended(tmp_path: Path) -> None:
    words: list[str] = []
    with children.alone(tmp_path / "lock", words.append) as lock:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[lock])
    ended = threading.Timer(2, child.kill)
    ended.start()
    began = time.monotonic()
    with children.alone(tmp_path / "lock", words.append):
        waited = time.monotonic() - began
    child.wait()
    assert waited > 1
    assert "wait for an earlier call" in words[0]
