# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory that GPU and system share: how much is available, and what frees some."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any, Callable

from . import paths, ssh
from .state import node, say


def available_mib(meminfo: str) -> int:
    """``MemAvailable`` in MiB, from the text of ``/proc/meminfo``.

    >>> available_mib("MemTotal: 125829120 kB\\nMemAvailable:   2097152 kB\\n")
    2048
    """
    return int(re.search(r"^MemAvailable:\s*(\d+) kB$", meminfo, re.MULTILINE)[1]) // 1024  # type: ignore[index]


def shortage(available: dict[str, int], need: int) -> str:
    """Which nodes have less than a rank needs, in words; empty where all have enough.

    :param available: MiB by node. :param need: MiB; 0 for no matter how much.
    """
    short_ones = [f"{name} has {mib} MiB available" for name, mib in sorted(available.items()) if mib < need]
    return f"{', '.join(short_ones)}, and a rank needs {need}: end what else uses it" if short_ones else ""


def available(own: dict[str, Any]) -> int:
    """MiB that this node has available. :param own: its ``node.json``."""
    return available_mib(Path(own["meminfo"]).read_text())


def main() -> int:
    """Answer the leader's question, by ssh."""
    print(available(node()))
    return 0


def of_all(cluster: dict[str, Any], own: dict[str, Any]) -> dict[str, int]:
    """MiB that each node has available. :raises RuntimeError: when a worker does not say."""
    found = {own["name"]: available(own)}
    for member in cluster["nodes"][1:]:
        found[member["name"]] = int(ssh.on_worker(member, "memory", 60))
    return found


def await_enough(cluster: dict[str, Any], own: dict[str, Any]) -> None:
    """Wait for memory: what an engine that has just ended used is free within seconds; what others use is not.

    :raises RuntimeError: when that takes longer than ``memory_wait_s``.
    """
    deadline = time.monotonic() + cluster["limits"]["memory_wait_s"]
    while problem := shortage(of_all(cluster, own), cluster["limits"]["memory_need_mib"]):
        if time.monotonic() > deadline:
            raise RuntimeError(problem)
        time.sleep(2)


def guard(own: dict[str, Any], floor: int, end: Callable[[int], None]) -> None:
    """Start a child of this process that ends its rank before the node has less memory than ``floor`` MiB.

    A Spark without free memory does not respond, and has to be switched off by hand.

    :param end: ends all that the process with this number started.
    """
    watched = os.getpid()
    if not floor or os.fork():
        return
    while os.getppid() == watched:
        left = available(own)
        if left < floor:
            say(f"{own['name']} has {left} MiB available, less than {floor}: its rank is ended before the host freezes")
            end(watched)
            break
        time.sleep(0.5)
    os._exit(0)


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
