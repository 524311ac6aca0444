# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads on a node come one after the other, and nobody's rank is ended because another engine loads."""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from supervisor import contract, leader, memory, network, ssh, turn
from supervisor_support import IMAGE, program

FIRST, SECOND = "127.0.0.1:8355", "127.0.0.1:8356"
FLOORS = {"memory_floor_mib": 8192, "memory_load_floor_mib": 16384}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> str:
    """Names of this test's own, since the real ones are this machine's."""
    own = f"test-{secrets.token_hex(6)}"
    monkeypatch.setattr(turn, "LOCK", own)
    monkeypatch.setattr(turn, "MARK", f"{own}/")
    monkeypatch.setattr(turn, "LOOK_S", 0.05)
    return own


def test_one_has_the_turn_until_it_ends(names: str) -> None:
    held = turn.take(FIRST)
    assert held
    assert turn.take(SECOND) is None
    assert (turn.loading(SECOND), turn.loading(FIRST)) == ([FIRST], [])
    held.end()
    held.end()
    assert turn.loading("") == []
    after = turn.take(SECOND)
    assert after
    after.end()


def test_a_turn_ends_with_the_program_that_has_it_and_is_not_handed_on(names: str) -> None:
    """Killed, and while a program that it has started runs on."""
    holds = (
        f"import sys, subprocess, time; sys.path.insert(0, {str(IMAGE)!r}); from supervisor import turn; "
        f"turn.LOCK, turn.MARK = {names!r}, {names + '/'!r}; held = turn.take({FIRST!r}); "
        "child = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL); print(child.pid, flush=True); "
        "time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", holds], stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    child = int(holder.stdout.readline())
    assert turn.take(SECOND) is None
    holder.kill()
    holder.wait()
    holder.stdout.close()
    after = turn.take(SECOND)
    os.kill(child, 9)  # it was there until now
    assert after, "what it has started holds the turn"
    after.end()


def test_a_node_that_forbids_such_names_holds_nobody_up(names: str, monkeypatch: Any, capsys: Any) -> None:
    class Forbidden(socket.socket):
        def bind(self, _address: object) -> None:
            raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(turn.socket, "socket", Forbidden)
    held = turn.take(FIRST)
    assert held
    held.end()
    assert "nothing keeps another engine of this node from loading meanwhile" in capsys.readouterr().err


def test_to_wait_for_the_turn_is_no_failed_start(names: str, monkeypatch: Any, tmp_path: Path) -> None:
    """The workers and the port are waited for again afterwards, since they may be gone by then."""
    said: list[dict[str, Any]] = []
    own = SimpleNamespace(values={"starts": 2}, set=lambda **values: (own.values.update(values), said.append(values)))
    asked: list[str] = []
    monkeypatch.setattr(ssh, "await_workers", lambda *_: asked.append("workers"))
    monkeypatch.setattr(network, "await_port", lambda _who, _own, reuse: asked.append(f"port, reused: {reuse}"))
    held = turn.take(FIRST)
    assert held
    monkeypatch.setattr(turn.time, "sleep", lambda _seconds: held.end() if len(asked) else None)
    mine = leader.await_all({"api_listen": SECOND}, own, reuse=True)
    mine.end()
    assert asked == ["workers", "port, reused: True"] * 2
    waits, goes_on = said
    assert (waits["phase"], waits["behind"], goes_on) == (contract.WAITING, FIRST, {"behind": ""})
    assert waits["reason"].startswith(f"the engine of {FIRST} loads on this Spark")
    assert own.values["starts"] == 2


def fall(*available: int, free: int) -> list[memory.Reading]:
    return [memory.Reading(index * 0.1, 122880, free, left) for index, left in enumerate(available)]


@pytest.mark.parametrize(
    ("readings", "beside", "floor"),
    [
        # 14 GiB a second, more than is free: the one that loads is ended above 16384
        (fall(22000, 20566, free=2048), True, 0),
        (fall(20000, 18566, free=2048), False, 16384),
        (fall(20000, 18566, free=2048), True, 0),
        # its guard has failed
        (fall(13000, 11566, free=2048), True, 8192),
        (fall(8191, free=2048), True, 8192),
    ],
)
def test_beside_an_engine_that_loads_the_lower_floor_holds(readings: Any, beside: bool, floor: int) -> None:
    assert memory.threatened(readings, FLOORS, False, beside) == floor


@pytest.mark.parametrize("beside", [True, False])
def test_a_rank_that_serves_outlives_the_load_of_another(names: str, tmp_path: Path, beside: bool) -> None:
    """The same fall of memory ends it where nobody else loads."""
    meminfo = tmp_path / "meminfo"

    def write(available: int) -> None:
        text = "".join(f"{name}: {mib * 1024} kB\n" for name, mib in (("MemFree", 1), ("MemAvailable", available)))
        meminfo.write_text(f"MemTotal: 125829120 kB\n{text}")

    write(16500)
    (tmp_path / "node.json").write_text(json.dumps({"name": "spark1", "environment": {}, "meminfo": str(meminfo)}))
    limits = {**FLOORS, "memlock_bytes": -1, "require_rdma": False}
    cluster = {"engine": {"name": "trtllm"}, "limits": limits, "api_listen": FIRST}
    (tmp_path / "cluster.json").write_text(json.dumps(cluster))
    mine = f"from supervisor import turn; turn.MARK = {names + '/'!r}; "
    rank = program(tmp_path, f"{mine}rank.run(sys.argv[1:])", "sh", "-c", "echo began; sleep 2")
    assert rank.stdout
    assert rank.stdout.readline() == "began\n"
    assert turn.loading(SECOND) == [FIRST], "while it loads, others know"
    (tmp_path / memory.LOADED).touch()
    time.sleep(0.4)
    assert turn.loading(SECOND) == []
    other = turn.mark(SECOND) if beside else turn.Turn([])
    for left in range(
        15900, 14900, -100
    ):  # slowly, but more than is free: the floor of a load holds for one that is alone
        write(left)
        time.sleep(0.1)
    _out, err = rank.communicate(timeout=20)
    other.end()
    assert rank.returncode == (0 if beside else -9), err


def test_two_engines_of_one_node_never_load_at_once(names: str, tmp_path: Path) -> None:
    """Two real programs: what they note of their loads does not overlap."""
    log = tmp_path / "log"
    one = (
        f"import sys, time; sys.path.insert(0, {str(IMAGE)!r}); from supervisor import leader, network, ssh, turn; "
        f"turn.LOCK, turn.MARK, turn.LOOK_S = {names!r}, {names + '/'!r}, 0.05; "
        "ssh.await_workers = network.await_port = lambda *_: None\n"
        "class Own:\n    values = {}\n    def set(self, **values): self.values.update(values)\n"
        "held = leader.await_all({'api_listen': sys.argv[1]}, Own())\n"
        f"for word in ('begins', 'ends'):\n    print(word, file=open({str(log)!r}, 'a')); time.sleep(0.5)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", one, who]) for who in (FIRST, SECOND)]
    assert [each.wait(timeout=30) for each in running] == [0, 0]
    assert log.read_text().split() == ["begins", "ends"] * 2
