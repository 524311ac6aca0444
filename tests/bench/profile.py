# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the processors' time goes while something is done, by program, on this machine and so on all of its labs.

A virtual Spark's processes are this machine's. What a program uses after it was looked at last is not seen: looked at
four times a second, that is little of what runs for seconds, and all of what runs for less.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

TICK = os.sysconf("SC_CLK_TCK")


def of_process(stat: str) -> tuple[str, float]:
    """A process' name and its processor seconds, by /proc/PID/stat.

    >>> of_process("7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0")
    ('a (b) c', 3.0)
    """
    name, _bracket, rest = stat.partition("(")[2].rpartition(")")
    user, system = rest.split()[11:13]
    return name, (int(user) + int(system)) / TICK


def of_machine(stat: str) -> dict[str, float]:
    """Seconds of all processors together, by the first line of /proc/stat.

    >>> of_machine("cpu  100 0 200 300 400 0 50 0 0 0")
    {'busy': 3.5, 'waiting for the disk': 4.0, 'idle': 3.0}
    """
    user, nice, system, idle, disk, hard, soft, stolen = (int(one) / TICK for one in stat.split()[1:9])
    return {"busy": user + nice + system + hard + soft + stolen, "waiting for the disk": disk, "idle": idle}


class Profile:
    """What was used between the beginning and the end of a ``with``."""

    def __init__(self) -> None:
        self.programs: dict[str, float] = defaultdict(float)
        self.machine: dict[str, float] = {}
        self._seen: dict[int, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Profile:
        self._look(first=True)
        self._before = of_machine(Path("/proc/stat").read_text())
        self._thread.start()
        return self

    def __exit__(self, *_exc: Any) -> None:
        self._over.set()
        self._thread.join()
        self._look()
        after = of_machine(Path("/proc/stat").read_text())
        self.machine = {name: after[name] - seconds for name, seconds in self._before.items()}

    def _watch(self) -> None:
        while not self._over.wait(0.25):
            self._look()

    def _look(self, first: bool = False) -> None:
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                with suppress(OSError, ValueError):
                    name, seconds = of_process((folder / "stat").read_text())
                    number = int(folder.name)
                    if not first:
                        self.programs[name] += max(seconds - self._seen.get(number, 0.0), 0.0)
                    self._seen[number] = seconds

    def rows(self, gigabytes: float, most: int = 8) -> list[tuple[str, float]]:
        """Processor seconds a GB of the programs that used most, and of the machine."""
        by_use = sorted(self.programs.items(), key=lambda one: -one[1])
        known = [(name, seconds / gigabytes) for name, seconds in by_use[:most]]
        return known + [(f"all processors, {name}", seconds / gigabytes) for name, seconds in self.machine.items()]
