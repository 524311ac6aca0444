# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a rank from RDMA, how it is waited for, and whether all ranks of a start had it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from supervisor import contract, notice, rdma, ssh, state, verbs
from supervisor_support import CLUSTER

TOLD = {**CLUSTER, "limits": {"require_rdma": True}}
OWN = {**CLUSTER["nodes"][0], "rdma_devices": ["rocep1s0f0"]}
GOOD, STALE, GONE = verbs.Condition("", False), verbs.Condition("old nodes", True), verbs.Condition("no card", False)
IB: contract.Transport = {"transport": "IB", "devices": "[0]rocep1s0f0:1/RoCE", "why": ""}
TCP: contract.Transport = {"transport": "Socket", "devices": "[0]enp1s0f0np0:192.168.100.2<0>", "why": ""}


@pytest.mark.parametrize(
    ("memlock", "least", "enough"),
    [
        (-1, -1, True),
        (-1, 65536, True),
        (65536, 65536, True),
        (65535, 65536, False),
        (1 << 40, -1, False),
        (0, 0, True),
    ],
)
def test_how_much_memory_may_be_locked(memlock: int, least: int, enough: bool) -> None:
    assert (rdma.memlock_problem(memlock, least) == "") == enough


def test_all_obstacles_are_told_and_none_without_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "condition", lambda wanted, open_too=False: STALE if open_too else GOOD)
    monkeypatch.setattr(rdma.resource, "getrlimit", lambda _which: (65536, 65536))
    found = rdma.own_obstacles(["rocep1s0f0"], -1)
    assert [one.partition(":")[0] for one in found] == [
        "in its container old nodes",
        "it may lock 65536 bytes of memory",
    ]
    assert rdma.own_obstacles([], -1) == []


def test_devices_are_needed_where_rdma_is_required() -> None:
    assert rdma.needed(TOLD, OWN) == ["rocep1s0f0"]
    assert rdma.needed({"limits": {"require_rdma": False}}, OWN) == []
    assert rdma.needed(TOLD, {}) == []


@pytest.fixture
def own(tmp_path: Path) -> state.State:
    one = state.State()
    one.path, one.values = tmp_path / "state.json", {"starts": 2}
    return one


@pytest.mark.parametrize(
    ("conditions", "goes_on", "pauses"),
    [
        ([GOOD], True, []),
        ([STALE], False, [rdma.ANEW]),
        ([GONE, GONE, GOOD], True, [2, 2]),
        ([GONE, STALE], False, [2, rdma.ANEW]),
    ],
)
def test_a_card_that_is_off_the_bus_is_waited_for(
    own: state.State, monkeypatch: pytest.MonkeyPatch, conditions: list, goes_on: bool, pauses: list[float]
) -> None:
    left, paused = list(conditions), []
    monkeypatch.setattr(verbs, "condition", lambda *_arguments, **_options: left.pop(0))
    assert rdma.await_devices(["x"], own, lambda words, seconds: paused.append((words, seconds))) == goes_on
    assert [seconds for _words, seconds in paused] == pauses
    if conditions[0].words:
        assert own.values["phase"] == "waiting"
        assert conditions[-1 if not goes_on else -2].words in own.values["reason"]
    assert own.values["starts"] == 2, "to wait is never a failed start"


def test_a_container_made_anew_in_vain_takes_its_time(own: state.State, monkeypatch: pytest.MonkeyPatch) -> None:
    paused = []
    monkeypatch.setattr(verbs, "condition", lambda *_arguments, **_options: STALE)
    for _container in range(2):
        own.set(phase="waiting", reason="")  # as a leader does when it begins
        assert not rdma.await_devices(["x"], own, lambda _words, seconds: paused.append(seconds))
    own.values["lost_at"] -= 1000
    assert not rdma.await_devices(["x"], own, lambda _words, seconds: paused.append(seconds))
    assert paused == [rdma.ANEW, rdma.AGAIN, rdma.ANEW]


def counters(root: Path, device: str, sent: int, received: int) -> None:
    folder = root / device / "ports" / "1" / "counters"
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (("port_xmit_data", sent), ("port_rcv_data", received), ("port_rcv_packets", 7)):
        (folder / name).write_text(f"{value}\n")


def test_what_was_carried_is_counted_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rdma, "CLASS", tmp_path)
    counters(tmp_path, "rocep1s0f0", 100, 10)
    counters(tmp_path, "roceP2p1s0f0", 1, 1)
    counters(tmp_path, "rocep1s0f1", 1000, 1000)
    assert rdma.carried(["rocep1s0f0", "roceP2p1s0f0", "gone"]) == 4 * 112


def judged(monkeypatch: pytest.MonkeyPatch, seen: dict, after: dict[str, int]) -> tuple[dict, str]:
    readings = [{"spark1": 1000, "spark2": 1000}, after]
    monkeypatch.setattr(rdma.Judge, "_carried", lambda _self: readings.pop(0) if len(readings) > 1 else readings[0])
    monkeypatch.setattr(rdma.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(rdma, "PATIENCE", 0)
    return rdma.Judge(TOLD, OWN).ranks(seen)


MOVED = {"spark1": 1000 + (64 << 20), "spark2": 1000 + (64 << 20)}


@pytest.mark.parametrize(
    ("seen", "after", "transports", "says"),
    [
        ({"spark1": IB, "spark2": IB}, {}, ["IB", "IB"], ""),
        ({"spark1": IB, "spark2": TCP}, MOVED, ["IB", "Socket"], "rank 1 on spark2: NCCL uses Socket"),
        ({"spark1": TCP, "spark2": TCP}, MOVED, ["Socket", "Socket"], "rank 0 on spark1: NCCL uses Socket"),
        ({"spark1": IB}, MOVED, ["IB", "IB"], ""),
        ({}, MOVED, ["IB", "IB"], ""),
        ({"spark1": IB}, {**MOVED, "spark2": 2000}, ["IB", "unknown"], "rank 1 on spark2: NCCL named no transport"),
        ({}, {**MOVED, "spark1": 0}, ["unknown", "IB"], "rank 0 on spark1: NCCL named no transport"),
    ],
)
def test_every_rank_is_judged_at_every_start(
    monkeypatch: pytest.MonkeyPatch, seen: dict, after: dict[str, int], transports: list[str], says: str
) -> None:
    ranks, problem = judged(monkeypatch, seen, after)
    assert [ranks[name]["transport"] for name in ("spark1", "spark2")] == transports
    assert problem.startswith(says) if says else problem == ""


@pytest.mark.parametrize("told", [{**TOLD, "limits": {"require_rdma": False}}, {**TOLD, "nodes": TOLD["nodes"][:1]}])
def test_nothing_is_judged_where_tcp_is_allowed_or_nobody_is_there_to_talk_to(told: dict[str, Any]) -> None:
    assert rdma.Judge(told, OWN).ranks({"spark1": TCP}) == ({"spark1": TCP}, "")


@pytest.mark.parametrize(
    ("own_words", "notice_says", "ssh_says", "lost"),
    [
        (GOOD, "", {"problem": "", "lost_s": None, "lost_why": ""}, ""),
        (GONE, "", {"problem": "", "lost_s": None, "lost_why": ""}, "spark1: no card"),
        (GOOD, "old nodes", None, "spark2: old nodes"),
        (GOOD, "", {"problem": "old nodes", "lost_s": None, "lost_why": ""}, "spark2: old nodes"),
        (GOOD, "", {"problem": "", "lost_s": 3.0, "lost_why": "it had old nodes"}, "spark2: it had old nodes"),
        (GOOD, "", {"problem": "", "lost_s": 3000.0, "lost_why": "it had old nodes"}, ""),
        (GOOD, None, None, ""),
        (GOOD, "", RuntimeError("it went"), ""),
    ],
)
def test_whose_devices_are_lost(
    monkeypatch: pytest.MonkeyPatch, own_words: verbs.Condition, notice_says: str | None, ssh_says: Any, lost: str
) -> None:
    def on_worker(*_arguments: object) -> str:
        if isinstance(ssh_says, Exception):
            raise ssh_says
        assert ssh_says, "it is not asked"
        return json.dumps(ssh_says)

    monkeypatch.setattr(verbs, "condition", lambda *_arguments, **_options: own_words)
    monkeypatch.setattr(notice, "read", lambda *_arguments: notice_says)
    monkeypatch.setattr(ssh, "on_worker", on_worker)
    monkeypatch.setattr(rdma, "ASKED", -1)
    found = rdma.lost(TOLD, OWN)
    assert found.startswith(lost) if lost else found == ""
    assert rdma.lost({**TOLD, "limits": {}}, OWN) == ""


def test_a_worker_that_ended_for_its_devices_is_given_the_time_to_be_back(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[str | None] = [None, None, ""]
    monkeypatch.setattr(verbs, "condition", lambda *_arguments, **_options: GOOD)
    monkeypatch.setattr(rdma.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(notice, "read", lambda *_arguments: answers.pop(0))
    monkeypatch.setattr(ssh, "on_worker", lambda *_: '{"problem": "", "lost_s": 9, "lost_why": "it had old nodes"}')
    assert rdma.lost(TOLD, OWN) == "spark2: it had old nodes"
    assert answers == []


def test_a_node_answers_the_leaders_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(state.paths, "STATE", tmp_path)
    rdma.end(state.State(), "it had old nodes")
    monkeypatch.setattr(rdma, "cluster", lambda: TOLD)
    monkeypatch.setattr(rdma, "node", lambda: OWN)
    monkeypatch.setattr(verbs, "condition", lambda *_arguments, **_options: STALE)
    monkeypatch.setattr(ssh, "on_worker", lambda *_arguments: '{"problem": "", "carried": 8}')
    assert rdma.main() == 0
    said = json.loads(capsys.readouterr().out)
    assert said["problem"].startswith("in its container old nodes: it ends to be made anew")
    assert said["carried"] == 0
    assert 0 <= said["lost_s"] < 5
    assert said["lost_why"] == "it had old nodes"
    assert rdma.of_all(TOLD, OWN)["spark2"] == {"problem": "", "carried": 8}


def test_a_worker_that_does_not_answer_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_arguments: object) -> str:
        raise subprocess.TimeoutExpired("ssh", 60)

    monkeypatch.setattr(ssh, "on_worker", silent)
    with pytest.raises(subprocess.SubprocessError):
        rdma.Judge(TOLD, OWN)


@pytest.mark.parametrize(
    ("ranks", "devices", "nodes", "named"),
    [
        ({"spark1": "IB", "spark2": "IB"}, ["rocep1s0f0"], 2, []),
        ({"spark1": "IB", "spark2": "Socket"}, ["rocep1s0f0"], 2, ["rank 1 on spark2: NCCL uses Socket"]),
        ({"spark1": "IB", "spark2": "unknown"}, ["rocep1s0f0"], 2, ["rank 1 on spark2: NCCL named no transport"]),
        ({"spark1": "Socket", "spark2": "Socket"}, ["rocep1s0f0"], 2, ["rank 0 on spark1", "rank 1 on spark2"]),
        ({"spark1": "IB"}, ["rocep1s0f0"], 2, []),  # nobody judged the other, and nothing is known of it
        ({"spark1": "Socket", "spark2": "Socket"}, [], 2, []),  # Sparks without a cable
        ({"spark1": "Socket"}, ["rocep1s0f0"], 1, []),  # one that is alone talks to itself
    ],
)
def test_tcp_instead_of_rdma_is_told_of_sparks_that_are_cabled(
    ranks: dict[str, str], devices: list[str], nodes: int, named: list[str]
) -> None:
    told = {"nodes": [{"name": f"spark{number}.example.org"} for number in range(1, nodes + 1)]}
    found: dict[str, contract.Transport] = {
        name: {"transport": one, "devices": "x", "why": ""} for name, one in ranks.items()
    }
    said = rdma.on_tcp(told, {"rdma_devices": devices}, found)
    assert bool(said) == bool(named)
    assert all(words in said.replace(".example.org", "") for words in named)
