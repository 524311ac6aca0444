# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A load that goes on is told from one that stands still."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from supervisor import progress, ssh
from supervisor.progress import Patience, Signs
from supervisor.rank import MARK

GIB = 1 << 30


@pytest.fixture
def clock(monkeypatch):
    """Seconds, which a test moves."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("second", "still"),
    [
        ({"spark1": Signs(GIB, 50000), "spark2": Signs(GIB, 50000)}, 300),
        ({"spark1": Signs(GIB + 1000, 50010), "spark2": Signs(GIB, 49990)}, 300),  # a little is none
        ({"spark1": Signs(GIB, 50000), "spark2": Signs(2 * GIB, 50000)}, 240),  # it reads
        ({"spark1": Signs(GIB, 42000), "spark2": Signs(GIB, 50000)}, 240),  # it takes memory
        ({"spark1": Signs(GIB, 50000)}, 300),  # a node that does not answer shows no progress
    ],
)
def test_any_rank_that_reads_or_takes_memory_is_progress(clock, second: dict[str, Signs], still: float) -> None:
    looks = [{"spark1": Signs(GIB, 50000), "spark2": Signs(GIB, 50000)}, second]
    patience = Patience(lambda: looks.pop(0) if len(looks) > 1 else looks[0], 0.0)
    for clock[0] in (30.0, 90.0, 330.0):
        found = patience.still_s(heard=0.0)
    assert found == still


def test_a_little_at_each_look_is_progress_in_the_end(clock) -> None:
    looks = [{"spark1": Signs(GIB + 5 * look * 2**20, 50000)} for look in range(5)]
    patience = Patience(lambda: looks.pop(0), 0.0)
    for clock[0] in (30.0, 60.0, 90.0, 120.0, 150.0):
        found = patience.still_s(heard=0.0)
    assert found == 0.0, "20 MiB in all"


def test_while_the_log_goes_on_no_node_is_asked(clock) -> None:
    patience = Patience(lambda: pytest.fail("nobody needs to know"), 0.0)
    for clock[0] in (100.0, 200.0):
        assert patience.still_s(heard=clock[0] - 5) == 5


def test_what_a_rank_reads_is_counted(tmp_path: Path) -> None:
    """Of all the processes that bear its mark, and of no other."""
    (tmp_path / "meminfo").write_text("MemAvailable: 2048 kB\n")
    (tmp_path / "weights").write_bytes(bytes(32 << 20))
    reads = f"import time; open({str(tmp_path / 'weights')!r}, 'rb').read(); print('read', flush=True); time.sleep(20)"
    own = {"meminfo": str(tmp_path / "meminfo")}
    before = progress.of_node(own)
    for environment, most in ({}, 1 << 20), ({MARK: "7"}, 64 << 20):
        process = subprocess.Popen(
            [sys.executable, "-c", reads], env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout.readline() == "read\n"
            found = progress.of_node(own)
            assert found.available == 2
            assert (32 << 20 if environment else 0) <= found.read - before.read <= most
        finally:
            process.kill()
            process.communicate()


def test_a_worker_is_asked_and_may_be_silent(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "meminfo").write_text("MemAvailable: 2048 kB\n")
    cluster = {"nodes": [{"name": name} for name in ("spark1", "spark2", "spark3")]}

    def on_worker(member: dict[str, str], word: str, _timeout: float) -> str:
        if member["name"] == "spark3":
            raise subprocess.TimeoutExpired("ssh", 20)
        return "4096 100\n" if word == "signs" else ""

    monkeypatch.setattr(ssh, "on_worker", on_worker)
    found = progress.of_all(cluster, {"name": "spark1", "meminfo": str(tmp_path / "meminfo")})
    assert sorted(found) == ["spark1", "spark2"]
    assert found["spark2"] == Signs(4096, 100)
