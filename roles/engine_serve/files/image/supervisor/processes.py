# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals, and the processes of this container."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator

from . import contract, paths

PROC = Path("/proc")
SESSION = "session"  # a file: the session of this node's rank


def end_by_sigterm() -> None:
    """End at SIGTERM and SIGINT: a container's first process does not, unless it asks for that."""

    def end(*_arguments: object) -> None:
        sys.exit(contract.EXIT_TERMINATED)

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, end)


def ignore_signals() -> None:
    """Let nothing interrupt an end that is under way."""
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)


def entries() -> Iterator[Path]:
    """The directory in /proc of each process of this container."""
    return (entry for entry in PROC.iterdir() if entry.name.isdigit())


def command_lines() -> list[list[bytes]]:
    """The command lines, each word without the directories before it."""
    found = []
    for entry in entries():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended by itself
        found.append([word.rsplit(b"/", 1)[-1] for word in words])
    return found


def kill(entry: Path) -> None:
    """SIGKILL to a process, unless it has ended by itself."""
    with contextlib.suppress(OSError):
        os.kill(int(entry.name), signal.SIGKILL)


def session_of(entry: Path) -> int:
    """The session of a process that runs; 0 of one that has ended, reaped or not."""
    try:
        state, _parent, _group, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
    except (OSError, ValueError):
        return 0
    return 0 if state in "ZX" else int(session)


def note_session(session: int) -> None:
    """Note which session this node's rank has."""
    (paths.RUN / SESSION).write_text(str(session))


def noted_session() -> int:
    """The session of this node's rank; 0 where none was noted."""
    try:
        return int((paths.RUN / SESSION).read_text())
    except (OSError, ValueError):
        return 0


def end_session(session: int) -> int:
    """Kill all processes of a session but this one, and those that they start meanwhile. Returns how many."""
    ended: set[str] = set()
    for _again in range(100):
        left = [one for one in entries() if int(one.name) != os.getpid() and session_of(one) == session]
        if not left:
            break
        for entry in left:
            kill(entry)
        ended.update(entry.name for entry in left)
        time.sleep(0.05)
    return len(ended)


def parents() -> set[int]:
    """This process, its parent and so on, and the container's first process."""
    kept, pid = {1}, os.getpid()
    while pid > 1:
        kept.add(pid)
        status = (PROC / str(pid) / "status").read_text()
        pid = int(re.search(r"^PPid:\s*(\d+)", status, re.MULTILINE)[1])  # type: ignore[index]
    return kept


def forget_jobs() -> None:
    """Remove what killed MPI daemons left: it is named by process number, and the next may get the same number."""
    for pattern in ("ompi.*", "prte*", "pmix*"):
        for path in Path(tempfile.gettempdir()).glob(pattern):
            shutil.rmtree(path, ignore_errors=True)
