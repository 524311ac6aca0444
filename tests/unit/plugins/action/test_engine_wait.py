# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server is waited for until it serves, cannot, or has had its time; and what it does meanwhile is said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action import engine_wait

LOADS = {"settled": False, "problems": ["starting: loading weights, 10 %"], "now": 7.0}
SERVES = {"settled": True, "problems": [], "now": 9.0}


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch):
    """Run the plugin with these answers from the host, one after the other, on a clock that sleeping moves."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(engine_wait.time, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    monkeypatch.setattr(engine_wait.time, "monotonic", lambda: clock.now)

    def run(
        answers: list[dict[str, Any]],
        check_mode: bool = False,
        timeout: int = 10,
        seen: dict[str, Any] | None = None,
        **also: Any,
    ) -> tuple[dict[str, Any], list[str], list[Any]]:
        said: list[str] = []
        since: list[Any] = []
        plugin = engine_wait.ActionModule.__new__(engine_wait.ActionModule)
        plugin._task = SimpleNamespace(check_mode=check_mode, async_val=0, diff=False)
        plugin._display = SimpleNamespace(display=said.append)
        monkeypatch.setattr(engine_wait.ActionBase, "run", lambda *_about: {})
        asked = {"config_digest": "x", "members": ["spark1"], "timeout": timeout, "interval": 2, "waiting_timeout": 20}
        asked.update({"seen": seen or {}, "require_rdma": True, "ignore_started_at": 0.0, **also})
        monkeypatch.setattr(plugin, "validate_argument_spec", lambda **_spec: (None, asked), raising=False)

        def answer(_name: str, module_args: dict[str, Any], **_options: Any) -> dict[str, Any]:
            since.append(module_args.get("since"))
            return answers.pop(0) if len(answers) > 1 else answers[0]

        monkeypatch.setattr(plugin, "_execute_module", answer, raising=False)
        return plugin.run(task_vars={"inventory_hostname": "spark1"}), said, since

    return run


def test_until_it_serves(wait) -> None:
    told, said, since = wait([LOADS, LOADS, SERVES])
    assert told == {**SERVES, "waited_s": 4.0}
    assert said == ["spark1: starting: loading weights, 10 % (0 s)"], "what has not changed is not said again"
    assert since == [None, 7.0, 7.0]


def test_no_longer_than_it_may(wait) -> None:
    told, _said, since = wait([LOADS])
    assert (told["settled"], told["waited_s"]) == (False, 12.0)
    assert len(since) == 7


def test_every_start_has_its_time(wait) -> None:
    """A load that the supervisor has ended is followed by another; a container that ends all the time is none."""
    second = {**LOADS, "state": {"starts": 2, "began": 5}}
    told, _said, _since = wait([{**LOADS, "state": {"starts": 1}}] * 4 + [second])
    assert (told["settled"], told["waited_s"]) == (False, 20.0)
    again = [{**LOADS, "state": {"starts": 1, "began": began}} for began in range(30)]
    assert wait(again)[0]["waited_s"] == 12.0


def test_what_nobody_mends_is_not_waited_for_as_long_as_a_load_may_take(wait) -> None:
    """A load may take an hour; a cable that is out, or a container that does not start, ends the play before."""
    waits = {**LOADS, "state": {"phase": "waiting", "config": "x"}}
    loads = {**LOADS, "state": {"phase": "starting", "config": "x"}}
    earlier = {**LOADS, "state": {"phase": "serving", "config": "an earlier one"}}
    assert wait([waits], timeout=3600)[0]["waited_s"] == 22.0
    assert wait([earlier], timeout=3600)[0]["waited_s"] == 22.0
    assert wait([waits] * 5 + [loads] * 30 + [waits], timeout=3600)[0]["waited_s"] == 68.0 + 22.0
    assert wait([loads], timeout=3600)[0]["waited_s"] == 3602.0
    assert wait([earlier], timeout=3600, config_digest="")[0]["waited_s"] == 3602.0, "whatever is configured"
    assert wait([LOADS], timeout=3600, config_digest="")[0]["waited_s"] == 22.0
    behind = {**LOADS, "state": {**waits["state"], "behind": "127.0.0.1:8355"}}  # another engine loads on the Spark
    assert wait([behind], timeout=3600)[0]["waited_s"] == 3602.0
    assert wait([behind] * 30 + [waits], timeout=3600)[0]["waited_s"] == 58.0 + 22.0


def test_an_error_and_a_dry_run_end_it_at_once(wait) -> None:
    assert wait([{"failed": True, "msg": "no"}])[0]["failed"]
    assert len(wait([LOADS], check_mode=True)[2]) == 1


RDMA = {"spark1": {"transport": "IB", "devices": "[0]rocep1s0f0:1/RoCE"}}
SEEN = {"phase": "serving", "config": "x", "began": 5.0, "ranks": RDMA, "model": "tiny"}


def test_what_served_when_it_was_read_is_not_read_again(wait) -> None:
    told, _said, since = wait([LOADS], seen=SEEN)
    assert told == {"changed": False, "settled": True, "problems": [], "state": SEEN, "waited_s": 0.0}
    assert since == [], "nothing was asked of the host"


@pytest.mark.parametrize(
    ("seen", "also"),
    [
        ({}, {}),
        ({**SEEN, "phase": "starting"}, {}),
        ({**SEEN, "phase": "gave up"}, {}),
        ({**SEEN, "config": "an earlier one"}, {}),
        ({**SEEN, "ranks": {"spark1": {**RDMA["spark1"], "transport": "Socket"}}}, {}),
        (SEEN, {"ignore_started_at": 5.0}),
        (SEEN, {"members": ["spark1", "spark2"]}),
    ],
)
def test_what_did_not_serve_is_read_again(wait, seen: dict[str, Any], also: dict[str, Any]) -> None:
    told, _said, since = wait([SERVES], seen=seen, **also)
    assert told == {**SERVES, "waited_s": 0.0}
    assert since == [None]
