# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rank without MPI started ends with its main process, and with the leader's ssh: with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from supervisor import keeper, paths, processes
from supervisor_support import program

#: a main process with a child that has none of its environment, as one with a title of its own
MAIN = (
    "import os, subprocess; from supervisor import keeper; keeper.keep(); "
    "child = subprocess.Popen(['sleep', '60'], env={}); print(os.getpid(), child.pid, flush=True); "
    "os.execvp('sleep', ['sleep', '60'])"
)


def started(folder: Path, tether: bool = False) -> tuple[subprocess.Popen[str], list[int]]:
    environment = {**os.environ, **({keeper.TETHER: "1"} if tether else {})}
    one = program(folder, MAIN, start_new_session=True, env=environment, stdin=subprocess.PIPE)
    assert one.stdout
    return one, [int(number) for number in one.stdout.readline().split()]


def is_gone(pid: int, within: float = 10) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not processes.session_of(Path(f"/proc/{pid}")):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_main_process_that_is_killed_takes_its_children_with_it(tmp_path: Path, number: signal.Signals) -> None:
    one, (main, child) = started(tmp_path)
    os.kill(main, number)
    assert is_gone(child)
    _out, said = one.communicate(timeout=10)
    assert "the rank's main process has ended, and 1 processes that it left were ended" in said


def test_a_signal_to_the_group_leaves_nothing(tmp_path: Path) -> None:
    one, (main, child) = started(tmp_path)
    os.killpg(main, signal.SIGTERM)
    assert is_gone(main)
    assert is_gone(child)
    one.communicate(timeout=10)  # which lasts until the keeper has ended, too


def test_a_rank_that_another_node_started_ends_with_its_ssh(tmp_path: Path) -> None:
    one, (main, child) = started(tmp_path, tether=True)
    assert not is_gone(main, within=1.5), "as long as that is there, it runs"
    assert os.readlink(f"/proc/{main}/fd/0") == os.devnull, "and does not read what is the keeper's"
    one.stdin.close()
    one.stdin = None
    assert is_gone(main)
    assert is_gone(child)
    assert "the leader has gone" in one.communicate(timeout=10)[1]


def test_a_main_process_that_ends_as_its_ssh_does_was_not_cut_off(tmp_path: Path) -> None:
    """An sshd ends the standard input of a command that has ended."""
    one, (main, child) = started(tmp_path, tether=True)
    os.kill(main, signal.SIGKILL)
    one.wait(timeout=10)
    one.stdin.close()
    one.stdin = None
    assert is_gone(child)
    said = one.communicate(timeout=10)[1]
    assert "the rank's main process has ended, and 1 processes" in said
    assert "the leader has gone" not in said


def test_the_leaders_own_rank_has_no_tether(tmp_path: Path) -> None:
    one, (main, _child) = started(tmp_path)
    one.stdin.close()
    one.stdin = None
    assert not is_gone(main, within=1.5)
    os.killpg(main, signal.SIGKILL)
    one.communicate(timeout=10)


def test_the_session_of_a_rank_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, (main, child) = started(tmp_path)
    monkeypatch.setattr(paths, "RUN", tmp_path)
    assert processes.noted_session() == main
    assert processes.session_of(Path(f"/proc/{child}")) == main
    assert processes.end_session(main) == 3  # with the keeper
    assert is_gone(child)
    one.communicate(timeout=10)
    (tmp_path / processes.SESSION).write_text("")
    assert processes.noted_session() == 0
