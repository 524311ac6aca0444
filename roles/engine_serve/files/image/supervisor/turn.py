# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose turn it is to load on a node: engines that load at once take one another's memory, and size their KV caches by
what is gone a moment later.

A lock is an abstract unix socket (unix(7)): its name belongs to the network, which all serving containers of a node
share with it, and is free again when its holder ends, however that ends. Nothing has to be mounted, and nothing stays.
"""

from __future__ import annotations

import errno
import re
import socket
import time
from pathlib import Path

from . import contract
from .state import State, say

LOCK, MARK = "dgx-spark-load", "dgx-spark-loads/"  # the second one is followed by where its engine listens
SOCKETS = Path("/proc/net/unix")
LOOK_S = 2


class Turn:
    """A turn, or the mark of a rank that loads; it ends with its process, or before."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets

    def end(self) -> None:
        """Let others load."""
        while self._sockets:
            self._sockets.pop().close()


def _named(name: str) -> socket.socket:
    """A socket that has a name to itself. :raises OSError: when another one has that."""
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        own.bind(f"\0{name}")
    except OSError:
        own.close()
        raise
    return own


def take(who: str) -> Turn | None:
    """The turn, None while another engine has it. A node that forbids such names has none to wait for.

    :param who: where the engine listens, which tells it from others.
    """
    try:
        held = _named(LOCK)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return None
        say(f"nothing keeps another engine of this node from loading meanwhile: {error}")
        return Turn([])
    return Turn([held, *mark(who)._sockets])


def mark(who: str, rank: int | None = None) -> Turn:
    """Let the guards of other engines know that this one loads here. :param rank: of a rank's own mark."""
    try:
        return Turn([_named(f"{MARK}{who}{'' if rank is None else f'#{rank}'}")])
    except OSError:
        return Turn([])  # it has been said above


def loading(but: str, table: str | None = None) -> list[str]:
    """Where the engines listen that load on this node now.

    :param but: of the one that does not count. :param table: the text of ``/proc/net/unix``.

    >>> table = "Num RefCount Protocol Flags Type St Inode Path\\n0: 2 0 0 1 01 5 @dgx-spark-loads/127.0.0.1:8356#0\\n"
    >>> loading("127.0.0.1:8355", table), loading("127.0.0.1:8356", table)
    (['127.0.0.1:8356'], [])
    """
    if table is None:
        try:
            table = SOCKETS.read_text(errors="replace")
        except OSError:
            table = ""
    found = set(re.findall(rf" @{re.escape(MARK)}([^#\s]+)\S*$", table, re.MULTILINE))
    return sorted(found - {but})


def wait(who: str, state: State) -> None:
    """Wait, without limit, until nobody has the turn: whoever asks first then gets it."""
    while (free := take(who)) is None:
        others = " and ".join(loading(who)) or "a program that does not say which"
        reason = f"the engine of {others} loads on this Spark, and two at once would take one another's memory"
        if state.values.get("reason") != reason:
            state.set(phase=contract.WAITING, reason=reason, behind=others)
        time.sleep(LOOK_S)
    state.set(behind="")
    free.end()
