# SIMULATED: part of a virtual Spark's stand-in for SGLang and for vLLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of an engine: with the title that the real one gives them, and without an environment that others see.

The real ones write their titles over their environment, by setproctitle. Here the title is the first word of the
command line, and the environment comes through a pipe.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Sequence

_DEATH = 1  # PR_SET_PDEATHSIG


def start(
    title: str, module: str, told: dict[str, Any], lines: Sequence[socket.socket] = ()
) -> subprocess.Popen[bytes]:
    """Start a module of ours as a child. :param told: JSON that it is given. :param lines: sockets that it inherits."""
    keep = [line.fileno() for line in lines]
    child = subprocess.Popen(
        [title, "-m", module],
        executable=str(Path("/proc/self/exe").resolve()),  # which Python does not find by such a title
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        pass_fds=keep,
    )
    assert child.stdin
    child.stdin.write(json.dumps({"told": told, "environment": dict(os.environ), "lines": keep}).encode() + b"\n")
    child.stdin.flush()
    return child


def begin() -> tuple[dict[str, Any], list[socket.socket]]:
    """In such a child: what it was told, and the sockets that it got."""
    said = json.loads(sys.stdin.buffer.readline())
    os.environ.clear()
    os.environ.update(said["environment"])
    return said["told"], [socket.socket(fileno=one) for one in said["lines"]]


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent has ended."""
    ctypes.CDLL(None, use_errno=True).prctl(_DEATH, signal.SIGKILL)


def await_end(child: subprocess.Popen[bytes], call: Any) -> None:
    """Have this called, by another thread, with the child's exit status."""
    threading.Thread(target=lambda: call(child.wait()), daemon=True).start()


def kill_tree(children: Sequence[subprocess.Popen[bytes]], wait: bool = True) -> None:
    """Kill the children and theirs."""
    for child in children:
        for pid in descendants(child.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for child in children if wait else ():
        child.wait()


def descendants(pid: int) -> list[int]:
    """A process and all that come from it."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [one for child in path.read_text().split() for one in descendants(int(child))]
    return found
