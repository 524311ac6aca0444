# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the leader decides: when to wait, to end, to give up."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from supervisor import leader, memory, network, paths, probe, processes, progress, ssh, state
from supervisor_support import LIMITS, NODE, program


@pytest.mark.parametrize(
    ("alive", "served", "failures", "waited", "decision"),
    [
        (True, False, 1, 10, "wait"),
        (True, False, 900, 1799, "wait"),
        (True, False, 901, 1800, "not loaded after 1800 s"),
        (True, True, 0, 5000, "serve"),
        (True, True, 2, 5000, "wait"),
        (True, True, 3, 5000, "no token in 3 probes"),
        (False, True, 0, 10, "the engine ended"),
        (False, False, 5, 10, "the engine ended"),
    ],
)
def test_what_is_decided(alive: bool, served: bool, failures: int, waited: float, decision: str) -> None:
    assert leader.decide(alive, served, failures, waited, LIMITS) == decision


def test_a_load_that_stands_still_is_ended_before_its_time() -> None:
    assert leader.decide(True, False, 50, 900, LIMITS, still=599) == "wait"
    assert leader.decide(True, False, 50, 900, LIMITS, still=600) == (
        "its load stood still: for 10 min the ranks wrote no line, read no file and took no memory"
    )
    assert leader.decide(True, True, 2, 900, LIMITS, still=600) == "wait", "it serves"


@pytest.mark.parametrize(
    ("state", "start"),
    [({}, (1, True)), ({"starts": 2}, (3, True)), ({"starts": 3}, (4, False)), ({"starts": 0}, (1, True))],
)
def test_starts_are_bounded(state: dict, start: tuple[int, bool]) -> None:
    assert leader.next_start(state, LIMITS) == start


def test_a_leader_that_is_asked_to_end_says_so_whatever_it_waits_for(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"starts": 2, "phase": "serv')  # cut short by a power cut
    waiting = program(
        tmp_path, "leader.lead = lambda own: (print('waits', flush=True), leader.time.sleep(60)); leader.main()"
    )
    assert waiting.stdout.readline() == "waits\n"
    waiting.terminate()
    waiting.communicate(timeout=50)  # less than what it waits for
    assert waiting.returncode == 143
    found = json.loads((tmp_path / "state.json").read_text())
    assert (found["phase"], found["reason"], found["starts"]) == ("stopped", "asked to end", 0)


@pytest.mark.parametrize(("config", "starts"), [("old", 4), ("new", 0)])
def test_starts_are_counted_for_one_configuration(tmp_path: Path, monkeypatch, config: str, starts: int) -> None:
    (tmp_path / "state.json").write_text('{"starts": 4, "config": "old"}')
    monkeypatch.setattr(paths, "STATE", tmp_path)
    monkeypatch.setattr(state, "cluster", lambda: NODE)
    monkeypatch.setattr(state, "node", lambda: NODE)
    monkeypatch.setenv("DGX_SPARK_CONFIG", config)
    monkeypatch.setattr(network, "await_address", lambda *_about: sys.exit(0))
    own = state.State()
    with pytest.raises(SystemExit):
        leader.lead(own)
    assert own.values["starts"] == starts


class Running:
    """SIMULATED: an engine that loads for 700 s, then makes tokens until it dies."""

    transports, progress, error, kv_tokens = SimpleNamespace(ranks={}, build="2.28.3"), "", "", 8000

    def __init__(self, clock: list[float], dies: float, final: bool, silent: float, least: int) -> None:
        self.clock, self.dies, self.ended, self.silent = clock, dies, False, silent
        self.engine = SimpleNamespace(
            may_start_again=lambda _status: not final,
            too_few=lambda tokens: f"{tokens} are fewer than {least}" if tokens < least else "",
        )

    @property
    def heard(self) -> float:
        return min(self.clock[0], self.silent)

    def alive(self) -> bool:
        return self.clock[0] < self.dies

    def causes(self) -> str:
        return "" if self.alive() else "it died"

    def status(self) -> int:
        return 1

    def end(self, _grace: float, _served: bool) -> None:
        self.ended = True


@pytest.fixture
def lead(tmp_path: Path, monkeypatch):
    """Lead a simulated engine on a clock that sleeping moves; returns the exit status and the state.

    Its log is silent after so many seconds; what its ranks have read grows until then too, or as ``read`` says.
    """

    def run(
        dies: float,
        final: bool = False,
        silent: float = 1e9,
        reads: float = 0,
        least: int = 0,
        problem: str = "",
        lost: str = "",
        own: str = "",
        **changed: float,
    ) -> tuple[int, dict]:
        clock = [0.0]
        limits = {**LIMITS, **changed, "timeout_s": 60, "interval_s": 15, "forget_s": 600, "grace_s": 1}
        cluster = {**NODE, "nodes": NODE["nodes"][:1], "limits": limits, "api_listen": ""}
        running = Running(clock, dies, final, silent, least)
        judge = SimpleNamespace(
            own_problem=lambda: own if clock[0] > 300 else "", lost=lambda: lost, ranks=lambda seen: (seen, problem)
        )
        kept = state.State()
        kept.path, kept.values = tmp_path / "state.json", {"starts": 2, "config": ""}
        fakes = [
            *[(state, name, lambda: cluster) for name in ("cluster", "node")],
            *[(network, name, print) for name in ("await_address", "await_port")],
            *[(ssh, name, print) for name in ("await_workers", "write_client_config")],
            (leader, "prepare", print),
            (leader.turns, "take", lambda _who: leader.turns.Turn([])),  # the real one is this machine's
            (leader.rdma, "Judge", lambda *_: judge),
            *[(paths, name, tmp_path) for name in ("RUN", "STATE")],
            (progress, "of_all", lambda *_: {"spark1": progress.Signs(int(min(clock[0], reads) * 2**20), 9000)}),
            (leader, "Running", lambda _engine: running),
            (leader, "token", lambda *_: probe.Probe("m", probe.CHAT, None if clock[0] >= 700 else "it loads")),
            (processes.signal, "signal", print),
            (leader.time, "monotonic", lambda: clock[0]),
            (leader.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds)),
        ]
        monkeypatch.setenv("PMIX_HOSTNAME", "")
        for module, name, fake in fakes:
            monkeypatch.setattr(module, name, fake)
        status = leader.lead(kept)
        assert running.ended
        return status, kept.values

    return run


@pytest.mark.parametrize(("dies", "starts"), [(720, 3), (1400, 0)])
def test_a_long_run_and_not_a_long_load_sets_the_number_of_starts_back(lead, dies: float, starts: int) -> None:
    status, values = lead(dies)
    assert status == 1
    assert (values["starts"], values["load_s"]) == (starts, 700)


def test_the_guards_are_told_that_their_ranks_have_loaded(lead, tmp_path: Path) -> None:
    _status, values = lead(720)
    assert (tmp_path / memory.LOADED).exists()
    assert values["kv_tokens"] == 8000


def test_the_configuration_that_made_a_token_is_the_good_one_and_no_other(lead, monkeypatch) -> None:
    monkeypatch.setenv("DGX_SPARK_CONFIG", "aaaa-1111")
    assert "good" not in lead(600)[1], "it ended before its first token"
    assert "good" not in lead(1400, least=9000)[1], "its KV cache was too small"
    assert lead(720)[1]["good"] == "aaaa-1111"


def test_a_load_that_makes_no_progress_is_ended_and_one_that_does_is_not(lead, tmp_path: Path) -> None:
    """Silent from its 10th second on; what it reads is progress, a token would come after 700 s."""
    _status, values = lead(1400, silent=10, reads=30, stall_s=120)
    assert values["reason"].startswith("its load stood still: for 2 min")
    assert not (tmp_path / memory.LOADED).exists(), "it was ended before"
    _status, values = lead(1400, silent=10, reads=700, stall_s=120)
    assert values["load_s"] == 700


def test_a_kv_cache_that_is_too_small_fails_the_start(lead) -> None:
    status, values = lead(1400, least=8001)
    assert (status, values["phase"], values["reason"]) == (1, "failed", "8000 are fewer than 8001")
    assert "load_s" not in values


@pytest.mark.parametrize(("final", "status", "phase"), [(False, 1, "failed"), (True, 0, "gave up")])
def test_an_end_that_no_start_would_mend_is_the_last(lead, final: bool, status: int, phase: str) -> None:
    found, values = lead(720, final)
    assert (found, values["phase"]) == (status, phase)
    assert values["reason"] == "it died (exit status 1; the engine has ended)"


TCP = "rank 1 on spark2: NCCL uses Socket (...) and not RDMA; its card is off the bus"


def test_a_start_over_tcp_fails_with_that_reason_and_never_serves(lead, monkeypatch: pytest.MonkeyPatch) -> None:
    phases = []
    whole = state.State.set
    monkeypatch.setattr(
        state.State, "set", lambda own, **values: (phases.append(values.get("phase")), whole(own, **values))
    )
    status, values = lead(5000, problem=TCP)
    assert status == 1
    assert (values["phase"], values["reason"], values["starts"]) == ("failed", TCP, 3)
    assert "serving" not in phases


def test_a_start_that_ends_for_devices_that_went_does_not_count(lead) -> None:
    status, values = lead(720, final=True, lost="spark2: there is no RoCE device rocep1s0f0")
    assert status == 1
    assert (values["phase"], values["starts"]) == ("waiting", 2)
    assert values["reason"] == "spark2: there is no RoCE device rocep1s0f0"
    assert values["last_end"] == "it died (exit status 1; the engine has ended)"


def test_an_engine_ends_when_the_leaders_own_devices_go(lead) -> None:
    _status, values = lead(5000, own="old nodes", lost="spark1: old nodes")
    assert (values["phase"], values["reason"], values["starts"]) == ("waiting", "spark1: old nodes", 2)
    assert values["last_end"] == "old nodes"


def test_a_leader_with_old_device_nodes_ends_before_it_starts_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = state.State()
    own.path, own.values = tmp_path / "state.json", {"starts": 2, "config": ""}
    told = {**NODE, "limits": {**LIMITS, "require_rdma": True}, "rdma_devices": ["rocep1s0f0"]}
    monkeypatch.delenv("DGX_SPARK_CONFIG", raising=False)
    for name in ("cluster", "node"):
        monkeypatch.setattr(state, name, lambda: told)
    monkeypatch.setattr(network, "await_address", print)
    monkeypatch.setattr(leader.rdma.verbs, "condition", lambda *_, **__: leader.rdma.verbs.Condition("old", True))
    monkeypatch.setattr(leader.time, "sleep", lambda _seconds: None)
    assert leader.lead(own) == 1
    assert (own.values["phase"], own.values["starts"]) == ("waiting", 2)
    assert own.values["reason"].startswith("spark1: in its container old: it ends to be made anew")


def test_a_failed_start_tells_when_it_did(lead) -> None:
    before = time.time()
    _status, values = lead(720)
    assert before <= values["last_end_at"] <= time.time()


def test_the_last_token_tells_how_long_it_took(lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each probe takes the seconds that the clock is moved on by, and one without a token changes nothing."""
    _status, values = lead(760)
    assert values["canary_s"] == 0.0
    assert values["canary_at"] <= time.time()
    canary = leader.Canary.__new__(leader.Canary)
    canary.own, canary.served_since, canary.limits = state.State(), 5.0, {"forget_s": 600}
    canary.own.values, canary.running = {"reason": "", "starts": 0}, SimpleNamespace(error="")
    canary._note_token(probe.Probe("m", probe.CHAT, None), 1.23456)
    assert canary.own.values["canary_s"] == 1.235


def test_a_start_that_serves_leaves_a_receipt_and_the_next_has_both(lead, tmp_path: Path) -> None:
    _status, values = lead(720)
    receipt = values["receipt"]
    assert (receipt["first_token_s"], receipt["kv_tokens"], receipt["nccl"]) == (700, 8000, "2.28.3")
    assert (receipt["model"], receipt["transports"], receipt["port_s"]) == ("m", {}, None)
    assert receipt["bytes_loaded"] >= 0
    assert values["last_receipt"] is None
    _status, values = lead(720)
    assert values["last_receipt"] == receipt
    assert len(json.loads((tmp_path / "receipts.json").read_text())) == 2


def test_a_start_that_never_serves_leaves_none(lead, tmp_path: Path) -> None:
    _status, values = lead(5000, problem=TCP)
    assert "receipt" not in values
    assert not (tmp_path / "receipts.json").exists()


def test_a_canary_that_fails_while_it_serves_is_noted_for_alerts(lead, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = []
    whole = leader.Canary._note_failure
    monkeypatch.setattr(
        leader.Canary,
        "_note_failure",
        lambda canary, problem: (
            whole(canary, problem),
            noted.append((bool(canary.served_since), bool(canary.own.failing))),
        ),
    )
    lead(720)
    assert set(noted) == {(False, False), (True, True)}, "one that loads does not fail"


def test_an_engine_that_ends_under_a_probe_is_seen_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank whose peer has gone answers nothing, and the probe would take all of its minute."""
    looks, over = iter([True, True, True]), threading.Event()
    running = SimpleNamespace(
        alive=lambda: next(looks, False), causes=lambda: "a worker died", status=lambda: 0, heard=0.0, progress=""
    )
    own = state.State()
    own.path, own.values = tmp_path / "state.json", {"reason": ""}
    told = {**NODE, "limits": {**LIMITS, "timeout_s": 60, "interval_s": 15}}
    monkeypatch.setattr(leader, "token", lambda *_: over.wait(60) and probe.Probe("m", probe.CHAT, None))
    monkeypatch.setattr(leader, "ALIVE_S", 0.01)
    canary = leader.Canary(told, running, own, SimpleNamespace(), SimpleNamespace())
    canary.served_since = 1.0
    try:
        assert canary.look() == "a worker died (exit status 0; the engine has ended)"
        assert not over.is_set()
    finally:
        over.set()
