# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs in a container does not outlive its play: run as the program that it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import watch

CHILD = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
#: one that starts another in its own session group, and does not end by SIGTERM
PARENT = (
    "import signal, subprocess, sys; signal.signal(15, signal.SIG_IGN); "
    "subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / watch.ALIVE).touch()
    return tmp_path


def started(folder: Path, seconds: float, patience: float, *command: str) -> subprocess.Popen[str]:
    argv = [sys.executable, watch.__file__, str(folder), str(seconds), str(patience), *command]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / watch.ENDED).read_text()))


@pytest.mark.parametrize("status", [0, 3])
def test_the_status_of_the_command_is_kept(folder: Path, status: int) -> None:
    one = started(folder, 30, 30, sys.executable, "-c", f"print('said'); raise SystemExit({status})")
    said, _err = one.communicate(timeout=20)
    assert (said, one.returncode, ended(folder)) == ("said\n", status, {"status": status, "why": ""})


def test_a_command_that_is_not_there_is_named(folder: Path) -> None:
    one = started(folder, 30, 30, "/no/such/program")
    said, _err = one.communicate(timeout=20)
    assert "/no/such/program cannot be started" in said
    assert (one.returncode, ended(folder)) == (127, {"status": 127, "why": ""})


def grandchild(folder: Path) -> int:
    """The process that the command has started."""
    for _ in range(200):
        if (folder / "pid").exists() and (folder / "pid").read_text():
            return int((folder / "pid").read_text())
        time.sleep(0.05)
    raise AssertionError("the command has not started")


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("why", [watch.TIME, watch.LEFT, watch.ASKED])
def test_all_that_it_started_ends(folder: Path, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, patience = (1.5 if why == watch.TIME else 60), (1.0 if why == watch.LEFT else 60)
    program = Path(watch.__file__).read_text().replace("GRACE = 10", "GRACE = 0.5")
    (folder / "watch.py").write_text(program)
    command = [sys.executable, "-c", PARENT, CHILD, str(folder / "pid")]
    argv = [sys.executable, str(folder / "watch.py"), str(folder), str(seconds), str(patience), *command]
    one = subprocess.Popen(argv)
    pid = grandchild(folder)
    if why == watch.ASKED:
        os.kill(one.pid, signal.SIGTERM)
    one.wait(20)
    assert ended(folder)["why"] == why
    assert not lives(pid)


def test_one_that_is_looked_after_goes_on(folder: Path) -> None:
    one = started(folder, 30, 0.8, sys.executable, "-c", "import time; time.sleep(2)")
    while one.poll() is None:
        os.utime(folder / watch.ALIVE)
        time.sleep(0.1)
    assert ended(folder) == {"status": 0, "why": ""}
