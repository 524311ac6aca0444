# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seconds of a machine that has nothing else to do.

A virtual Spark shares its processors with whatever else runs there. How long something may take is therefore counted
in what the machine gave, not by the clock on the wall: with two strangers on two processors half a second a second.
On a machine with nothing beside, both clocks are the same, and a limit is as strict as it was written.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

#: the clock on the wall may show so many times the seconds that were given, and then the wait is over
OUTER = 10
_EVERY = 0.25


class Look(NamedTuple):
    """What /proc/stat tells of all processors: ticks, how many other machines stole, programs that want to run now."""

    ticks: int
    stolen: int
    wanting: int


def parse(stat: str) -> Look:
    """Return what a text of /proc/stat tells.

    >>> parse("cpu  100 0 50 800 10 0 5 35 0 0\\ncpu0 1 2\\nprocs_running 5\\nprocs_blocked 1\\n")
    Look(ticks=1000, stolen=35, wanting=6)
    """
    lines = dict(line.split(" ", 1) for line in stat.splitlines() if " " in line)
    ticks = [int(word) for word in lines["cpu"].split()[:8]]
    return Look(sum(ticks), ticks[7], int(lines["procs_running"]) + int(lines["procs_blocked"]))


def share(before: Look, now: Look, processors: int) -> float:
    """Return the part of the last moment's time that a program got which could always have run.

    :param now: a look by a program that ran to take it, which does not count.

    >>> share(Look(0, 0, 1), Look(100, 0, 2), 2), share(Look(0, 0, 1), Look(100, 0, 5), 2)
    (1.0, 0.5)
    >>> share(Look(0, 0, 1), Look(100, 25, 2), 2)
    0.75
    """
    ticks = now.ticks - before.ticks
    kept = 1 - (now.stolen - before.stolen) / ticks if ticks > 0 else 1.0
    return kept * min(1.0, processors / max(now.wanting - 1, 1))


class _Machine:
    """Looks at the machine as long as this program runs, and adds up what it gave."""

    def __init__(self) -> None:
        self.given = 0.0
        self._began = threading.Lock()

    def watch(self) -> None:
        """Begin, unless that was done before."""
        if self._began.acquire(blocking=False):
            threading.Thread(target=self._look, name="pace", daemon=True).start()

    def _look(self) -> None:
        stat, processors = Path("/proc/stat"), os.cpu_count() or 1
        then, before = time.monotonic(), parse(stat.read_text())
        while True:
            time.sleep(_EVERY)
            now, found = time.monotonic(), parse(stat.read_text())
            self.given += (now - then) * share(before, found, processors)
            then, before = now, found


_MACHINE = _Machine()


class Clock:
    """Runs from when it is made."""

    def __init__(self) -> None:
        _MACHINE.watch()
        self._began, self._given = time.monotonic(), _MACHINE.given

    def wall(self) -> float:
        """Return the seconds by the clock on the wall."""
        return time.monotonic() - self._began

    def given(self) -> float:
        """Return the seconds that the machine gave meanwhile."""
        return _MACHINE.given - self._given

    def over(self, seconds: float) -> bool:
        """Whether that many seconds were given, or so many passed that no more are waited for."""
        return self.given() >= seconds or self.wall() >= OUTER * seconds

    def __str__(self) -> str:
        return f"{self.wall():.0f} s ({self.given():.0f} s given)"
