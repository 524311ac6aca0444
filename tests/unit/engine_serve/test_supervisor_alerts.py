# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts are delivered once, over failed starts and odd receivers, and nothing that serves waits for them."""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Callable, Iterator

import pytest
from alert_support import SECRET, configure, odd, receiving
from supervisor import alerts, contract, edges, paths, state, webhook
from supervisor_support import IMAGE, program

POST = (
    f"import sys, pathlib; sys.path.insert(0, {str(IMAGE)!r}); from supervisor import paths, webhook; "
    "paths.CONFIG = paths.STATE = pathlib.Path(sys.argv[1]); sys.exit(webhook.main())"
)
ENDLESS = POST.replace("sys.exit", "webhook.LIMIT_S = 3600; sys.exit")
NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    monkeypatch.setattr(paths, "CONFIG", tmp_path)
    monkeypatch.setattr(alerts.Watcher, "command", (sys.executable, "-c", POST, str(tmp_path)))
    monkeypatch.delenv(contract.CONFIG_VARIABLE, raising=False)
    return tmp_path


class Supervisor:
    """One that is looked at on clocks of its own; what is on its way arrives within a second of them."""

    def __init__(self, phase: str = "serving", now: float = NOW, **values: object) -> None:
        self.own, self.now, self.steady = state.State(), now, 0.0
        self.own.node = "spark1"
        self.watcher = alerts.Watcher(self.own)
        self.own.values.update(phase=phase, reason="", config="", **values)

    def pass_by(self, seconds: int, phase: str = "", reason: str = "", failing: bool = False) -> None:
        self.own.values.update(phase=phase or self.own.values["phase"], reason=reason)
        self.own.failing = "OSError: /health answers 503" if failing else ""
        for _second in range(seconds):
            self.watcher.follow(self.now, self.steady)
            self.watcher.look(self.now)
            assert soon(lambda: self.watcher._child is None or self.watcher._child.poll() is not None)
            self.now += 1.0
            self.steady += 1.0

    @property
    def waiting(self) -> list[str]:
        return [one["message"]["event"] for one in self.watcher._kept.waiting]


def soon(condition: Callable[[], bool], seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def test_one_message_a_change_over_a_canary_that_flaps(here: Path) -> None:
    with receiving() as to:
        configure(here, to.url, after_s=6, settle_s=6)
        one = Supervisor(model="tiny-chat")
        one.pass_by(20)
        for _time in range(8):
            one.pass_by(3, failing=True)
            one.pass_by(3)
        assert to.events == ["heartbeat"]
        for _time in range(8):
            one.pass_by(8, failing=True)
            one.pass_by(4)
        one.pass_by(20)
        assert to.events == ["heartbeat", "down", "recovered"]
        assert len({message["id"] for message in to.got}) == 3
        down = to.got[1]
        assert down["text"] == (
            "[down] dgx-spark-trtllm on spark1: it has not served for 6 s: serving: OSError: /health answers 503"
        )
        assert (down["name"], down["host"], down["model"]) == ("dgx-spark-trtllm", "spark1", "tiny-chat")


def test_a_message_names_what_is_waited_for(here: Path) -> None:
    with receiving() as to:
        configure(here, to.url)
        one = Supervisor()
        one.pass_by(2)
        one.pass_by(4, "waiting", "spark2 does not let\nMPI in: no route")
        assert to.events == ["heartbeat", "down"]
        assert to.got[1]["reason"] == "spark2 does not let MPI in: no route"
        assert to.got[1]["text"].endswith("waiting: spark2 does not let MPI in: no route")


def test_one_that_loads_again_tells_why_the_last_start_failed(here: Path) -> None:
    with receiving() as to:
        configure(here, to.url, after_s=5)
        one = Supervisor(last_end="long ago", last_end_at=NOW - 1000)
        one.pass_by(3)
        one.own.values.update(last_end="rank 1 was killed", last_end_at=one.now)
        one.pass_by(1, "failed", "rank 1 was killed")
        one.pass_by(9, "starting")
        assert to.got[-1]["text"].endswith("for 5 s: starting: the last start failed: rank 1 was killed")
        one.pass_by(3, "serving")
        one.pass_by(9, "starting")
        assert to.events[1:] == ["down", "recovered", "down"]
        assert to.got[-1]["text"].endswith("for 5 s: starting"), "that was another time"


def test_a_supervisor_that_goes_on_after_a_failed_start_tells_nothing_anew(here: Path) -> None:
    with receiving() as to:
        configure(here, to.url, after_s=5)
        one = Supervisor()
        one.pass_by(3)
        one.pass_by(2, "failed", "rank 1 was killed")
        for _start in range(4):
            one.own.set()
            one = Supervisor("waiting", one.now + 5)
            one.pass_by(2)
            one.pass_by(2, "starting")
            one.pass_by(1, "failed", "rank 1 was killed")
        one.own.set()
        one = Supervisor("starting", one.now + 5)
        one.pass_by(3, "serving")
        assert to.events == ["heartbeat", "down", "recovered"]


def test_what_a_failed_start_leaves_is_delivered_by_the_next(here: Path) -> None:
    with receiving(500, 200) as to:
        configure(here, to.url, after_s=60)
        one = Supervisor()
        one.pass_by(2)
        one.pass_by(1, "failed", "it died")
        assert to.events == ["heartbeat"]
        one.own.set()
        one = Supervisor("starting", one.now + 5)
        one.pass_by(2)
        assert to.events == ["heartbeat", "heartbeat"]
        assert to.got[0] == to.got[1]
        one.pass_by(60)
        assert to.events == ["heartbeat", "heartbeat", "down"], "which has lasted since the first of them"


def test_tcp_is_told_at_once_and_once(here: Path) -> None:
    with receiving() as to:
        configure(here, to.url)
        one = Supervisor("starting")
        one.own.tcp = "rank 1 on spark2: NCCL uses Socket"
        one.pass_by(5, "serving")
        assert to.events == ["heartbeat", "tcp"]
        assert to.got[1]["text"].endswith("TCP instead of RDMA: rank 1 on spark2: NCCL uses Socket")
        one.own.tcp = ""
        one.pass_by(5)
        assert to.events == ["heartbeat", "tcp", "rdma"]


def test_a_message_that_was_on_its_way_when_its_supervisor_ended_is_not_posted_twice(here: Path) -> None:
    """SIMULATED: the end of a container, which ends the process that posts as well."""
    with odd("hangs") as url:
        configure(here, url)
        one = Supervisor()
        one.watcher.look(NOW)
        assert soon((here / contract.ALERT_SENT).exists)
        one.watcher._end_child()
        assert [one["tries"] for one in json.loads((here / "alerts.json").read_text())["waiting"]] == [1]
    one.own.set()
    with receiving() as to:
        configure(here, url)
        later = Supervisor("serving", NOW + 20)
        later.watcher.look(later.now)
        assert (later.waiting, later.watcher._child) == ([], None)
        assert to.events == []


def test_what_was_answered_with_an_error_is_tried_again_by_the_next_supervisor(here: Path) -> None:
    with receiving(500, 200) as to:
        configure(here, to.url)
        one = Supervisor()
        one.pass_by(2)
        assert not (here / contract.ALERT_SENT).exists(), "it was sent, and not taken"
        one.own.set()
        Supervisor("serving", NOW + 20).pass_by(2)
        assert to.events == ["heartbeat", "heartbeat"]


def test_one_whose_process_was_ended_after_it_was_sent_is_not_posted_twice(here: Path, capsys) -> None:
    with odd("hangs") as url:
        configure(here, url)
        one = Supervisor()
        one.watcher.command = (*alerts.Watcher.command[:2], ENDLESS, str(here))
        one.watcher.look(NOW)
        assert soon((here / contract.ALERT_SENT).exists)
        one.watcher._ends = 0.0
        one.watcher.look(NOW + 1)
        assert one.waiting == []
    assert "alert heartbeat was sent: it took the message and did not answer" in capsys.readouterr().err


def test_what_is_told_is_on_the_disk_before_it_is_posted(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict] = []

    def start(_watcher: alerts.Watcher, _one: dict) -> None:
        seen.append(json.loads((here / "alerts.json").read_text()))

    monkeypatch.setattr(alerts.Watcher, "_start", start)
    configure(here, "http://127.0.0.1:9/")
    Supervisor().watcher.look(NOW)
    assert [one["message"]["event"] for one in seen[0]["waiting"]] == ["heartbeat"]


def test_without_a_receiver_nothing_is_started_and_nothing_is_kept(here: Path) -> None:
    one = Supervisor("waiting")
    one.pass_by(500)
    assert (one.waiting, one.watcher._child, list(here.iterdir())) == ([], None, [])


def test_a_receiver_that_comes_while_it_serves_has_a_heartbeat_and_one_that_goes_has_no_more(here: Path) -> None:
    one = Supervisor()
    one.pass_by(3)
    with receiving() as first, receiving() as second:
        configure(here, first.url)
        one.pass_by(3)
        configure(here, second.url)
        one.pass_by(3)
        assert (first.events, second.events) == (["heartbeat"], ["heartbeat"])
        assert first.got[0]["text"] == "[heartbeat] dgx-spark-trtllm on spark1: alerts arrive here; serving"
        (here / "alert_url").unlink()
        one.pass_by(50, "waiting")
        assert (first.events, second.events) == (["heartbeat"], ["heartbeat"])


def test_what_waits_for_one_receiver_is_not_for_the_next(here: Path) -> None:
    with odd("refuses") as dead, receiving() as to:
        configure(here, dead)
        one = Supervisor()
        one.pass_by(2)
        one.pass_by(3, "waiting")
        assert one.waiting == ["heartbeat", "down"]
        configure(here, to.url)
        one.pass_by(3)
        assert to.events == ["heartbeat"]


def test_other_times_are_no_other_receiver(here: Path) -> None:
    """What waits stays, what is on its way arrives, and nothing is told of it."""
    with receiving(500, 200) as to:
        configure(here, to.url)
        one = Supervisor()
        one.pass_by(2)
        configure(here, to.url, after_s=7, settle_s=7)
        one.pass_by(2)
        assert one.waiting == ["heartbeat"]
        one.pass_by(10)
        assert to.events == ["heartbeat", "heartbeat"], "of one message"
        assert to.got[0] == to.got[1]
        configure(here, to.url, format="slack", after_s=7, settle_s=7)
        one.pass_by(3)
        assert "alerts arrive here" in to.got[-1]["text"]


def test_a_receiver_that_fails_is_tried_again_and_has_the_message_once(here: Path, capsys) -> None:
    with receiving(500, 503, 204) as to:
        configure(here, to.url)
        one = Supervisor()
        one.pass_by(60)
        assert len(to.got) == 3
        assert len({json.dumps(message) for message in to.got}) == 1
        one.pass_by(400)
        assert len(to.got) == 3
    said = capsys.readouterr().err
    assert "alert heartbeat was not sent, and is tried again in 5 s: it answers 500" in said
    assert "alert heartbeat was sent: it answers 204" in said


def test_tries_are_bounded_and_what_was_left_out_is_counted(here: Path, capsys) -> None:
    with receiving(500, 500, 500, 500, 200) as to:
        configure(here, to.url)
        one = Supervisor()
        one.pass_by(400)
        assert to.events == ["heartbeat"] * 4
        assert "alert heartbeat was not sent, and is left out: it answers 500" in capsys.readouterr().err
        one.pass_by(3, "waiting")
        assert to.events == ["heartbeat"] * 4 + ["down"]
        assert to.got[-1]["left_out"] == 1
        one.pass_by(3, "serving")
        assert "left_out" not in to.got[-1]


@pytest.mark.parametrize("status", [302, 404])
def test_a_refusal_is_not_tried_again(here: Path, status: int) -> None:
    with receiving(status) as to:
        configure(here, to.url)
        one = Supervisor()
        one.pass_by(300)
        assert (to.events, one.waiting) == (["heartbeat"], [])


@pytest.mark.parametrize("kind", ["hangs", "slow"])
def test_one_that_takes_a_message_without_an_answer_has_it_once(here: Path, kind: str) -> None:
    with odd(kind) as url:
        configure(here, url)
        command = (*alerts.Watcher.command[:2], POST.replace("sys.exit", "webhook.LIMIT_S = 0.3; sys.exit"), str(here))
        one = Supervisor()
        one.watcher.command = command
        one.pass_by(200)
        assert one.waiting == []


def test_a_queue_is_bounded(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with odd("refuses") as dead:
        configure(here, dead, after_s=0, settle_s=0)
        one = Supervisor()
        monkeypatch.setattr(alerts.Watcher, "_deliver", lambda *_: None)
        for turn in range(100):
            one.pass_by(1, failing=bool(turn % 2))
        assert len(one.waiting) == alerts.MOST
        assert one.watcher._kept.left_out == 100 - alerts.MOST  # the heartbeat, and 99 changes
        assert len(json.loads((here / "alerts.json").read_text())["waiting"]) == alerts.MOST


def test_what_is_old_is_no_news(here: Path) -> None:
    with receiving(500, 200) as to:
        configure(here, to.url)
        one = Supervisor()
        one.pass_by(2)
        one.own.set()
        assert to.events == ["heartbeat"]
        later = Supervisor("serving", NOW + alerts.STALE_S + 10)
        later.pass_by(20)
        assert to.events == ["heartbeat"], "it was not tried again"
        later.pass_by(3, "waiting")
        assert [to.events[-1], to.got[-1]["left_out"]] == ["down", 1]


def test_a_process_that_hangs_is_killed(here: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(alerts, "WHOLE_S", 0.2)
    configure(here, "http://127.0.0.1:9/")
    one = Supervisor()
    one.watcher.command = (sys.executable, "-c", "import time; time.sleep(60)")
    one.watcher.look(NOW)
    child = one.watcher._child
    time.sleep(0.3)
    one.watcher.look(NOW + 1)
    assert child.poll() == -9
    assert "is tried again in 5 s: it was ended after some seconds" in capsys.readouterr().err


def test_a_process_that_cannot_be_started_is_told(here: Path, capsys) -> None:
    configure(here, "http://127.0.0.1:9/")
    one = Supervisor()
    one.watcher.command = (str(here / "none"),)
    one.watcher.look(NOW)
    assert "no process for it could be started" in capsys.readouterr().err
    assert one.waiting == ["heartbeat"]


@pytest.mark.parametrize(
    "broken", ["", "{", "[]", "{}", '{"memory": {}, "waiting": [{"a": 1}]}', '{"memory": {"x": 1}}']
)
def test_half_a_file_is_none(here: Path, broken: str) -> None:
    (here / "alerts.json").write_text(broken)
    kept = alerts.kept_in(here / "alerts.json")
    assert (kept.memory, kept.waiting) == (edges.Memory(), [])


def test_settings_that_cannot_be_read_are_told_once_and_end_nothing(here: Path, capsys) -> None:
    configure(here, "http://127.0.0.1:9/")
    (here / "alert.json").write_text("{")
    Supervisor().pass_by(20)
    assert capsys.readouterr().err.count("cannot be read") == 1


def test_a_full_disk_ends_nothing_and_is_told_once(here: Path, capsys) -> None:
    with receiving() as to:
        configure(here, to.url)
        (here / "alerts.new").mkdir()
        Supervisor().pass_by(20)
        assert to.events == ["heartbeat"]
    assert capsys.readouterr().err.count("alerts.json cannot be written") == 1


def test_the_url_is_in_no_file_but_its_own_and_in_no_line(here: Path, capsys) -> None:
    with receiving(500, 200) as to:
        configure(here, to.url)
        one = Supervisor()
        one.pass_by(20)
        one.own.set(reason="x")
    for path in here.iterdir():
        assert path.name == "alert_url" or SECRET not in path.read_text(), path
    assert SECRET not in str(capsys.readouterr())


# --- the supervisor's own process ------------------------------------------------------------------------------------


@pytest.fixture
def supervise(here: Path) -> Iterator[Callable[..., object]]:
    """The leader's program in a process of its own, whose lead is this; no try to deliver has an end of its own."""
    started = []

    def run(lead: str, farewell_s: float = 1) -> object:
        statement = (
            f"from supervisor import alerts, contract; alerts.Watcher.command = (sys.executable, '-c', {ENDLESS!r}, "
            f"{str(here)!r}); alerts.WHOLE_S = 3600; leader.FAREWELL_S = {farewell_s}; "
            f"leader.lead = lambda own: {lead}; sys.exit(leader.main())"
        )
        started.append(program(here, statement))
        return started[-1]

    yield run
    for one in started:
        one.kill()
        one.communicate()


GIVES_UP = "(own.set(phase=contract.STARTING, reason=''), leader.give_up(own, '5 starts failed'))[1]"
FAILS = "(own.set(phase=contract.STARTING, reason='', starts=1), leader.fail(own, 'it died'))[1]"


def test_one_that_gives_up_tells_before_it_ends(here: Path, supervise) -> None:
    with receiving() as to:
        configure(here, to.url)
        one = supervise(GIVES_UP, farewell_s=60)
        _out, err = one.communicate(timeout=60)
        assert one.returncode == contract.EXIT_GAVE_UP, err
        assert to.events == ["heartbeat", "gave_up"]
        assert to.got[1]["reason"] == "5 starts failed"


def test_one_that_gives_up_tells_before_what_waits_for_its_next_try(here: Path, supervise) -> None:
    """And what it makes old is left out."""
    with receiving() as to:
        configure(here, to.url)
        kept = alerts.Kept(receiver=webhook.receiver().digest, memory=edges.Memory("down"))
        for event in ("heartbeat", "down"):
            message = {"id": event, "event": event, "text": event, "at": time.time()}
            kept.waiting.append({"message": message, "tries": 3, "due": time.time() + 100})
        state.replace(here / "alerts.json", asdict(kept))
        state.replace(here / "state.json", {"phase": "failed", "config": ""})
        one = supervise(GIVES_UP, farewell_s=60)
        _out, err = one.communicate(timeout=60)
        assert one.returncode == contract.EXIT_GAVE_UP, err
        assert to.events == ["gave_up"]
        assert to.got[0]["left_out"] == 1
    assert [one["message"]["event"] for one in alerts.kept_in(here / "alerts.json").waiting] == ["heartbeat"]


@pytest.mark.parametrize("jump", [-100_000, -30, 30, 100_000])
def test_a_clock_that_is_set_neither_holds_up_nor_hurries_what_is_told(here: Path, jump: int) -> None:
    with receiving(200, 500, 200) as to:
        configure(here, to.url, after_s=20, settle_s=20)
        one = Supervisor()
        one.pass_by(2)
        one.pass_by(10, "waiting")
        one.now += jump
        one.pass_by(9)
        assert to.events == ["heartbeat"], "it has not lasted for so long"
        one.pass_by(3)
        assert to.events == ["heartbeat", "down"]
        one.now -= jump
        one.pass_by(2)
        assert to.events == ["heartbeat", "down"], "which is tried again after 5 s"
        one.pass_by(4)
        assert to.events == ["heartbeat", "down", "down"]
        assert one.waiting == []


def test_what_waits_from_before_a_clock_was_set_back_is_tried_again_all_the_same(here: Path) -> None:
    """As over a boot, between two supervisors."""
    with receiving(500, 200) as to:
        configure(here, to.url)
        one = Supervisor()
        one.pass_by(2)
        one.own.set()
        later = Supervisor("serving", NOW - 100_000)
        later.pass_by(100)
        assert to.events == ["heartbeat"]
        later.pass_by(25)
        assert to.events == ["heartbeat", "heartbeat"]


@pytest.mark.parametrize("kind", ["hangs", "slow", "closes", "refuses"])
@pytest.mark.parametrize(("lead", "status"), [(GIVES_UP, 0), (FAILS, 1)], ids=["gives up", "fails"])
def test_an_odd_receiver_holds_no_end_up_for_long(here: Path, supervise, kind: str, lead: str, status: int) -> None:
    with odd(kind) as url:
        configure(here, url)
        one = supervise(lead)
        _out, err = one.communicate(timeout=60)
        assert one.returncode == status, err
        assert SECRET not in err


def test_one_that_gets_no_thread_leads_without_alerts(here: Path, supervise) -> None:
    with receiving() as to:
        configure(here, to.url)
        none = "(_ for _ in ()).throw(RuntimeError('no thread'))"
        one = supervise(f"{FAILS}; alerts.Watcher.start = lambda own: {none}")
        _out, err = one.communicate(timeout=60)
        assert one.returncode == contract.EXIT_FAILED, err
        assert json.loads((here / "state.json").read_text())["last_end"] == "it died"
        assert to.events == []


def test_a_thread_that_is_stuck_is_left_behind(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()
    watcher = alerts.Watcher(state.State())
    monkeypatch.setattr(watcher, "look", lambda _now: end.wait(60))
    watcher.start()
    time.sleep(alerts.TICK_S + 0.5)
    watcher.close(0)
    assert watcher.is_alive()
    end.set()


def test_sigterm_ends_it_at_once_whatever_the_receiver_does(here: Path, supervise) -> None:
    with odd("hangs") as url:
        configure(here, url)
        one = supervise(
            "(own.set(phase=contract.WAITING, reason='x'), print('waits', flush=True), leader.time.sleep(60))"
        )
        assert one.stdout.readline() == "waits\n"
        assert soon((here / contract.ALERT_SENT).exists)
        one.terminate()
        assert one.wait(50) == contract.EXIT_TERMINATED, "in less than what it waits for"


def test_the_state_is_written_and_the_thread_closed_while_a_receiver_hangs(here: Path) -> None:
    with odd("hangs") as url:
        configure(here, url)
        own = state.State()
        watcher = alerts.Watcher(own)
        watcher.command = (
            *watcher.command[:2],
            POST.replace("sys.exit", "webhook.LIMIT_S = 3600; sys.exit"),
            str(here),
        )
        watcher.start()
        assert soon((here / contract.ALERT_SENT).exists)
        assert watcher._child.poll() is None, "a message is on its way"
        for _time in range(100):
            own.set(phase="serving", reason="")
        watcher.close(0)
        assert not watcher.is_alive()
        assert watcher._child.poll() is None, "and is, still"
        watcher._end_child()
