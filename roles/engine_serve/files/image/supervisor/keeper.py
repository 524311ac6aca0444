# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Beside a rank that no MPI looks after: what it started ends with its main process, and with the leader's ssh.

An engine's main process that is killed may leave processes behind which hold the GPU's memory for ever, and the rank of
a worker would outlive the leader that started it. All of them are in one session, which their titles cannot hide.
"""

from __future__ import annotations

import os
import select
import signal
import time

from . import processes
from .state import say

TETHER = "DGX_SPARK_TETHER"  # in the environment of a rank that another node started: it ends with its standard input
LOOK_S = 0.5
#: what it says, of which neither is why an engine does not serve
CUT, LEFT = "the leader has gone or has ended this rank", "the rank's main process has ended"


def is_of_keeper(words: str) -> bool:
    """Whether this module said it: what follows from an end, and not its cause."""
    return words.startswith((CUT, LEFT))


def keep() -> None:
    """Start a child of this process that ends all others of its session when this process has ended, or was cut off."""
    watched, session = os.getpid(), os.getsid(0)
    processes.note_session(session)
    tether = _take_input() if os.environ.pop(TETHER, "") else None
    if os.fork():
        if tether is not None:
            os.close(tether)
        return
    os.setpgid(0, 0)  # so that a signal to the rank's group leaves it to see that group's end
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    cut = False
    while os.getppid() == watched and not cut:
        cut = _is_cut(tether)
    alone = os.getppid() != watched  # an sshd cuts off what it started when that has ended, too
    left = processes.end_session(session)
    if not alone:
        say(CUT)
    elif left:
        say(f"{LEFT}, and {left} processes that it left were ended")
    os._exit(0)


def _take_input() -> int:
    """This process's standard input as another descriptor; the command that it becomes gets an empty one."""
    taken, empty = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return taken


def _is_cut(tether: int | None) -> bool:
    """Whether a tether has ended; this takes a while where it has not."""
    if tether is None:
        time.sleep(LOOK_S)
        return False
    ready, _writable, _failed = select.select([tether], [], [], LOOK_S)
    return bool(ready) and not os.read(tether, 4096)
