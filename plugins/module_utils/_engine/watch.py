# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program for a container that must not outlive the play that started it: it runs a command, and ends it.

    python3 watch.py DIRECTORY SECONDS PATIENCE COMMAND...

It ends the command after SECONDS, and when the file ``alive`` in DIRECTORY was touched by nobody for PATIENCE seconds:
then the play has ended, by Ctrl-C for one. How it ended is written into the file ``ended`` there, as JSON.

It runs in the engine's image, so it is one file, of the standard library alone.
This module util is private to the collection.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ALIVE, ENDED = "alive", "ended"
TIME, LEFT, ASKED = "time", "left", "asked"  #: why a command was ended
GRACE = 10  # seconds for it to end by itself
EVERY = 0.2


def reason(now: float, deadline: float, touched: float, patience: float) -> str:
    """Why a command is to be ended, empty where it is not. All in seconds of one clock.

    >>> reason(10, deadline=20, touched=5, patience=60), reason(20, 20, 15, 60), reason(99, 200, 5, 60)
    ('', 'time', 'left')
    """
    if now >= deadline:
        return TIME
    return LEFT if now - touched > patience else ""


def end(child: subprocess.Popen[bytes]) -> None:
    """End a command with all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(GRACE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def run(folder: Path, seconds: float, patience: float, command: list[str]) -> tuple[int, str]:
    """Run a command. Returns its exit status, and why it was ended, empty where it ended by itself."""
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error}\n")
        return 127, ""
    asked = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    deadline = time.time() + seconds
    while child.poll() is None:
        try:
            touched = (folder / ALIVE).stat().st_mtime
        except OSError:
            touched = 0.0  # the directory was removed
        why = ASKED if asked else reason(time.time(), deadline, touched, patience)
        if why:
            end(child)
            return child.wait(), why
        time.sleep(EVERY)
    end(child)  # what it may have left behind
    return child.returncode, ""


def main(arguments: list[str]) -> int:
    """Run, and write down how it ended."""
    folder = Path(arguments[0])
    status, why = run(folder, float(arguments[1]), float(arguments[2]), arguments[3:])
    try:
        (folder / ENDED).write_text(json.dumps({"status": status, "why": why}), encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"{folder / ENDED} cannot be written: {error}\n")
    return status if 0 <= status < 256 else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
