# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory that GPU and system share: how much is available, and what frees some."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple, Sequence

from . import contract, paths, ssh, turn
from .state import node, say

POLL_S = 0.1  # between two looks of a guard
AHEAD_S = 0.3  # how far a guard looks ahead: three looks, in which what it ends has to end
DROP_S = 10  # between two times that a guard drops caches
LOADED = "loaded"  # a file: this node's rank has loaded, and the lower floor holds
LOCK_MEMORY = 1  # MCL_CURRENT of mlockall(2)


class Reading(NamedTuple):
    """What a node's memory is at one time."""

    at: float  # seconds, on any clock
    total: int  # MiB; 0 where that is not told
    free: int  # MiB that nobody uses
    available: int  # MiB that are free, or could be made free


def reading(meminfo: str, at: float) -> Reading | None:
    """A reading from the text of ``/proc/meminfo``; None where that is not whole.

    >>> reading("MemTotal: 125829120 kB\\nMemFree: 1048576 kB\\nMemAvailable: 2097152 kB\\n", 0)
    Reading(at=0, total=122880, free=1024, available=2048)
    """
    found = {name: int(kib) // 1024 for name, kib in re.findall(r"^(Mem\w+):\s*(\d+) kB$", meminfo, re.MULTILINE)}
    available = found.get("MemAvailable")
    if available is None:
        return None
    return Reading(at, found.get("MemTotal", 0), found.get("MemFree", available), available)


def need_mib(limits: dict[str, Any], total: int) -> int:
    """MiB that a node must have available before its rank starts: the weights, and a reserve by the node's size."""
    reserve = limits["memory_reserve_mib"]
    return int(limits["memory_need_mib"] - reserve + contract.scaled_mib(reserve, total))


def shortage(found: dict[str, Reading], limits: dict[str, Any]) -> str:
    """Which nodes have less than their rank needs, in words; empty where all have enough."""
    short_ones = [
        f"{name} has {one.available} MiB available, and its rank needs {need_mib(limits, one.total)}"
        for name, one in sorted(found.items())
        if one.available < need_mib(limits, one.total)
    ]
    return f"{', '.join(short_ones)}: end what else uses it" if short_ones else ""


def of_node(own: dict[str, Any]) -> Reading:
    """This node's memory now. :param own: its ``node.json``. :raises RuntimeError: where nothing tells it."""
    for _again in range(5):  # a file that stands in for the kernel's may just be written
        if found := reading(Path(own["meminfo"]).read_text(), time.monotonic()):
            return found
        time.sleep(POLL_S)
    raise RuntimeError(f"{own['meminfo']} tells no MemAvailable")


def main() -> int:
    """Answer the leader's question, by ssh."""
    _at, *mib = of_node(node())
    print(*mib)
    return 0


def of_all(cluster: dict[str, Any], own: dict[str, Any]) -> dict[str, Reading]:
    """Each node's memory. :raises RuntimeError: and ValueError, when a worker does not say."""
    found = {own["name"]: of_node(own)}
    for member in cluster["nodes"][1:]:
        total, free, available = map(int, ssh.on_worker(member, "memory", 60).split())
        found[member["name"]] = Reading(time.monotonic(), total, free, available)
    return found


def await_enough(cluster: dict[str, Any], own: dict[str, Any]) -> dict[str, Reading]:
    """Wait for memory: what an engine that has just ended used is free within seconds; what others use is not.

    :returns: what each node has then. :raises RuntimeError: when that takes longer than ``memory_wait_s``.
    """
    deadline = time.monotonic() + cluster["limits"]["memory_wait_s"]
    while problem := shortage(found := of_all(cluster, own), cluster["limits"]):
        if time.monotonic() > deadline:
            raise RuntimeError(problem)
        time.sleep(2)
    return found


def loss(readings: Sequence[Reading]) -> float:
    """MiB a second that a node loses, by its last three readings: the steepest way to the last one."""
    last = readings[-1]
    earlier = [one for one in readings[-3:-1] if one.at < last.at]
    return max([0.0, *((one.available - last.available) / (last.at - one.at) for one in earlier)])


def threatened(readings: Sequence[Reading], limits: dict[str, Any], loading: bool, beside: bool = False) -> int:
    """The floor in MiB that a node is about to fall below, at the rate of its last readings; 0 where it is not.

    While it loads, the higher floor holds. It does too where more is taken than is free: the rest has to be made free
    first, and a Spark's driver was seen to fail, and the Spark to stand still, long before nothing was available.

    :param limits: ``memory_floor_mib``, 0 for never, and ``memory_load_floor_mib``, both of a Spark of 128 GB.
    :param beside: whether another engine loads on the node. Then the fall is that one's, whose own guard keeps to the
        higher floor, and ends it well before this one's lower floor is near.
    """
    if not limits["memory_floor_mib"]:
        return 0
    now, soon = readings[-1], loss(readings) * AHEAD_S
    low, high = (contract.scaled_mib(limits[f"memory_{name}_mib"], now.total) for name in ("floor", "load_floor"))
    floor = max(low, high) if loading or (soon > now.free and not beside) else low
    return floor if now.available - soon < floor else 0


def guard(own: dict[str, Any], limits: dict[str, Any], end: Callable[[int], None], who: str = "") -> None:
    """Start a child of this process that tries to end its rank before the node has too little memory.

    A Spark without free memory does not respond, and has to be switched off by hand. What takes memory faster than
    this looks, or without this rank, is not stopped by it.

    :param limits: of ``cluster.json``. :param end: ends all that the process with this number started.
    :param who: where the engine listens, which tells it from others of the node.
    """
    watched = os.getpid()
    loaded = paths.RUN / LOADED
    with contextlib.suppress(FileNotFoundError):
        loaded.unlink()  # it is an earlier rank's
    if not limits["memory_floor_mib"]:
        return
    mark = turn.mark(who, own.get("rank", 0))
    if os.fork():
        return  # and the command that it becomes has no part in the mark
    ctypes.CDLL(None).mlockall(LOCK_MEMORY)  # so that it need not be read again from the disk, just then
    readings: list[Reading] = []
    dropped, dropping = 0.0, 0
    while os.getppid() == watched:
        time.sleep(POLL_S)
        now = reading(Path(own["meminfo"]).read_text(), time.monotonic())
        if now is None:
            continue
        readings = [*readings[-2:], now]
        loading = not loaded.exists()
        if not loading:
            mark.end()
        floor = threatened(readings, limits, loading)
        if floor and not loading and turn.loading(who):
            floor = threatened(readings, limits, loading, beside=True)
        if floor:
            say(last_words(own["name"], readings, floor, limits))
            end(watched)
            break
        if loading and now.free < contract.scaled_mib(limits["memory_load_floor_mib"], now.total):
            dropping = reaped(dropping)
            if not dropping and now.at - dropped > DROP_S and paths.DROP_CACHES.exists():
                dropped, dropping = now.at, os.fork()
                if not dropping:
                    drop_caches()
                    os._exit(0)
    os._exit(0)


def reaped(child: int) -> int:
    """0 once a child has ended; else its number."""
    return child if child and os.waitpid(child, os.WNOHANG)[0] == 0 else 0


def last_words(name: str, readings: Sequence[Reading], floor: int, limits: dict[str, Any]) -> str:
    """Why a guard ends a rank, and the mend."""
    now = readings[-1]
    low = floor == contract.scaled_mib(limits["memory_floor_mib"], now.total)
    option = f"engine_serve_memory_{'' if low else 'load_'}floor_mib"
    return (
        f"{name} has {now.available} MiB available, {now.free} of them free, and loses {loss(readings):.0f} MiB a "
        f"second: its rank is ended, to keep {floor} MiB from being used too. End what else uses memory, give the KV "
        f"cache less, or lower {option}"
    )


def note_loaded() -> None:
    """Let the guard of this node's rank know that this has loaded."""
    (paths.RUN / LOADED).touch()


def drop_caches() -> None:
    """Free what the page cache holds of the shared memory: CUDA takes cached pages for used ones.

    Cached pages of the model itself are read again from the disk, so it is done where that was consented to.
    """
    if not paths.DROP_CACHES.exists():
        return
    os.sync()
    try:
        paths.DROP_CACHES.write_text("3\n")
    except OSError as error:
        say(f"the caches were not dropped: {error}")
