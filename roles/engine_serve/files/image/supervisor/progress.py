# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a load goes on: by the engine's log, by what its ranks have read, and by the memory of all nodes."""

from __future__ import annotations

import re
import subprocess
import time
from typing import Any, Callable, Iterator, NamedTuple

from . import memory, processes, ssh
from .rank import MARK
from .state import node, say

LOOK_S = 30  # of silence in the log, before the nodes are asked, and between two times that they are
READ_BYTES = 16 << 20  # fewer are no progress: who waits for a network reads a little too
MEMORY_MIB = 64  # less is no progress: other programs take some, and give some back


class Signs(NamedTuple):
    """What shows on a node that its rank works."""

    read: int  # bytes that the processes of its rank have read, from the disk or otherwise
    available: int  # MiB of memory


def bytes_read(counters: str) -> int:
    """Bytes that a process has read: by calls, and by its memory maps, which only the disk's counter has.

    :param counters: the text of ``/proc/PID/io``.

    >>> bytes_read("rchar: 1000\\nwchar: 7\\nsyscr: 3\\nsyscw: 1\\nread_bytes: 4096\\nwrite_bytes: 0\\n")
    5096
    """
    return sum(int(count) for count in re.findall(r"^(?:rchar|read_bytes): (\d+)$", counters, re.MULTILINE))


def bytes_loaded(counters: str) -> int:
    """Bytes that a process has loaded, at least: what came both by calls and from the disk counts once.

    :param counters: as :func:`bytes_read` takes them.

    >>> bytes_loaded("rchar: 1000\\nsyscr: 3\\nread_bytes: 4096\\n"), bytes_loaded("")
    (4096, 0)
    """
    found = re.findall(r"^(?:rchar|read_bytes): (\d+)$", counters, re.MULTILINE)
    return max(map(int, found), default=0)


def counters_here() -> Iterator[str]:
    """The text of ``/proc/PID/io`` of each process of this node's rank."""
    mark, session = f"{MARK}=".encode(), processes.noted_session()
    for entry in processes.entries():
        try:
            marked = any(one.startswith(mark) for one in (entry / "environ").read_bytes().split(b"\0"))
            if marked or (session and processes.session_of(entry) == session):
                yield (entry / "io").read_text()
        except OSError:
            continue  # it ended by itself


def of_node(own: dict[str, Any]) -> Signs:
    """The signs of life of this node's rank. :param own: its ``node.json``."""
    return Signs(sum(map(bytes_read, counters_here())), memory.of_node(own).available)


def loaded() -> int:
    """On a worker, by the leader's ssh: note that its rank has loaded, and tell how many bytes."""
    memory.note_loaded()
    print(sum(map(bytes_loaded, counters_here())))
    return 0


def tell_loaded(cluster: dict[str, Any]) -> dict[str, int | None]:
    """Let the guards of all ranks know that these have loaded; one that is not told keeps to the higher floor.

    :returns: by node the bytes that its rank has loaded, None where it did not tell.
    """
    memory.note_loaded()
    own, *workers = cluster["nodes"]
    found: dict[str, int | None] = {own["name"]: sum(map(bytes_loaded, counters_here()))}
    for member in workers:
        found[member["name"]] = None
        try:
            found[member["name"]] = int(ssh.on_worker(member, "loaded", 20))
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            say(f"{member['name']} was not told that its rank has loaded, and keeps the floor of a load: {error}")
    return found


def main() -> int:
    """Answer the leader's question, by ssh."""
    print(*of_node(node()))
    return 0


def of_all(cluster: dict[str, Any], own: dict[str, Any]) -> dict[str, Signs]:
    """The signs of all nodes; a node that does not answer shows none."""
    found = {own["name"]: of_node(own)}
    for member in cluster["nodes"][1:]:
        try:
            found[member["name"]] = Signs(*map(int, ssh.on_worker(member, "signs", 20).split()))
        except (OSError, RuntimeError, TypeError, ValueError, subprocess.SubprocessError):
            continue
    return found


def moved(before: Signs, now: Signs) -> bool:
    """Whether a rank has worked between two looks.

    >>> before = Signs(read=10 << 30, available=50000)
    >>> moved(before, Signs(10 << 30, 49950)), moved(before, Signs(11 << 30, 50000)), moved(before, Signs(0, 49900))
    (False, True, True)
    """
    return abs(now.read - before.read) >= READ_BYTES or abs(now.available - before.available) >= MEMORY_MIB


class Patience:
    """For how long a load has stood still.

    :param look: asks all nodes for their signs. :param began: when the load did, by ``time.monotonic``.
    """

    def __init__(self, look: Callable[[], dict[str, Signs]], began: float) -> None:
        self.look, self.moved_at, self.looked_at = look, began, began
        self.signs: dict[str, Signs] = {}

    def still_s(self, heard: float) -> float:
        """Seconds without any progress. The nodes are asked only where the log has been silent for a while.

        :param heard: when the log's last line came.
        """
        now = time.monotonic()
        if now - max(heard, self.looked_at) >= LOOK_S:
            found, self.looked_at = self.look(), now
            for name, one in found.items():
                if name not in self.signs or moved(self.signs[name], one):
                    self.signs[name], self.moved_at = one, now
        return max(0.0, now - max(heard, self.moved_at))
