# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many requests an engine's API works on, by what the kernel knows of its connections.

No engine tells this well enough to end it by: TensorRT-LLM's ``/metrics`` speaks of iterations that have ended, of
which a long prompt is one that takes a minute, and what is read there is gone for the supervisor. The kernel tells of
each connection when data last came and last went (tcp_info of tcp(7), by ``ss`` of iproute2): where the last word was
the client's, a request waits for its answer, and where it was the server's, and is young, an answer is under way. Both
clocks begin with the connection, so that one over which nothing ever came asks for nothing.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract

#: without a word from the server, from which on a connection is taken to be kept for the client's next request.
#: An engine closes one after five seconds, and a token takes less than two
QUIET_MS = 2000
#: runs a program and returns its exit status and what it printed
Run = Callable[[Sequence[str]], "tuple[int, str]"]


class RequestsError(ValueError):
    """Nothing tells of the connections."""


class Connection(NamedTuple):
    """A connection of this host, as one of its two ends has it."""

    local: str  # address:port
    peer: str
    sent_ms: int  # since data was last sent
    received_ms: int  # since data last came
    received: int  # bytes that have come in all
    pids: tuple[int, ...]  # of who has this end open here


def parse(text: str) -> list[Connection]:
    """Read ``ss --tcp --info --numeric --processes --oneline --no-header state established``.

    >>> parse('0 0 127.0.0.1:8355 127.0.0.1:4 users:(("x",pid=7,fd=3)) cubic bytes_received:80 lastsnd:9 lastrcv:12')
    [Connection(local='127.0.0.1:8355', peer='127.0.0.1:4', sent_ms=9, received_ms=12, received=80, pids=(7,))]
    """
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 4 or not (words[0].isdigit() and words[1].isdigit()):
            continue
        told = dict(re.findall(r"\b(lastsnd|lastrcv|bytes_received):(\d{1,19})\b", line))  # what is 0 is not
        sent_ms, received_ms, received = (int(told.get(name, 0)) for name in ("lastsnd", "lastrcv", "bytes_received"))
        pids = tuple(int(pid) for pid in re.findall(r"\bpid=(\d{1,9})\b", line))
        found.append(Connection(words[2], words[3], sent_ms, received_ms, received, pids))
    return found


def port_of(address: str) -> str:
    """The port of an ``address:port``.

    >>> port_of("[::ffff:127.0.0.1]:8355")
    '8355'
    """
    return address.rpartition(":")[2]


def works(one: Connection) -> bool:
    """Whether a server works on a request of this connection. :param one: the server's end."""
    return one.received > 0 and (one.received_ms <= one.sent_ms or one.sent_ms < QUIET_MS)


def running(connections: Sequence[Connection], port: str, own: Sequence[int] = ()) -> int:
    """How many requests run at a port of this host.

    :param own: processes of the supervisor, whose question for a token is none of them.
    """
    asked_by_own = {one.local for one in connections if port_of(one.peer) == port and set(one.pids) & set(own)}
    served = [one for one in connections if port_of(one.local) == port and one.peer not in asked_by_own]
    return sum(works(one) for one in served)


def supervisors(pids: Sequence[int], proc: Path = Path("/proc")) -> list[int]:
    """Those of some processes that are the supervisor."""
    found = []
    for pid in pids:
        try:
            words = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended
        if contract.PROGRAM.encode() in words:
            found.append(pid)
    return found


def look(address: str, run: Run, proc: Path = Path("/proc")) -> int:
    """How many requests run at an API of this host.

    :param address: ``host:port`` of the API. :raises RequestsError: where ss does not tell.
    """
    port = port_of(address)
    options = ["--tcp", "--info", "--numeric", "--processes", "--oneline", "--no-header"]
    code, said = run(["ss", *options, "state", "established", f"( sport = :{port} or dport = :{port} )"])
    if code:
        raise RequestsError(
            f"ss does not tell who is connected to port {port} ({' '.join(said.split())[:200] or f'status {code}'}): "
            "install iproute2"
        )
    connections = parse(said)
    return running(connections, port, supervisors([pid for one in connections for pid in one.pids], proc))


def counted(number: int) -> str:
    """So many requests, in words.

    >>> counted(1), counted(2)
    ('1 request', '2 requests')
    """
    return f"{number} request{'' if number == 1 else 's'}"
