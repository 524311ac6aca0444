# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a long step is, and what ends a program that is stuck."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.child import run_while_moving
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.progress import describe, written


def test_it_is_said_in_one_line() -> None:
    about = {"what": "a/b copied", "bytes": 4e9, "bytes_there": 3e9, "bytes_moved": 2e9, "began": 100}
    assert describe(about, 110) == "a/b copied, 3.00 of 4.00 GB, 0.20 GB/s, 5 s left"
    assert describe({**about, "bytes_there": 4e9}, 110) == "a/b copied, 4.00 of 4.00 GB, 0.20 GB/s"
    assert describe({**about, "bytes_moved": 0}, 100) == "a/b copied, 3.00 of 4.00 GB, 0.00 GB/s"


def test_it_is_written_while_it_runs(tmp_path: Path) -> None:
    path, there = tmp_path / "progress", [10]
    with written(path, "x", lambda: 100, lambda: there[0], every=0.01):
        there[0] = 60
        end = time.monotonic() + 60
        while json.loads(path.read_text())["bytes_moved"] != 50 and time.monotonic() < end:
            time.sleep(0.01)
        assert json.loads(path.read_text())["bytes_there"] == 60
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_moves_nothing_is_ended(tmp_path: Path) -> None:
    """Where the machine is busy, its start counts as moving."""
    began, here = time.monotonic(), tmp_path / "here"
    program = f"import time; print('here', flush=True); open({str(here)!r}, 'w'); time.sleep(600)"

    def moved() -> float:
        return 1 if here.exists() else time.monotonic()

    assert run_while_moving([sys.executable, "-c", program], {}, moved, 0.3, every=0.1) == (None, "here\n")
    assert time.monotonic() - began < 300


def test_a_program_that_moves_is_left_alone() -> None:
    argv = [sys.executable, "-c", "import os, sys, time; time.sleep(1); sys.exit(os.environ['WORD'])"]
    assert run_while_moving(argv, {"WORD": "done"}, time.monotonic, 0.3, every=0.1) == (1, "done\n")
