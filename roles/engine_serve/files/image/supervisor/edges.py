# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which changes of a serving are told: each that lasts, once. Pure functions; time and state come from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from . import contract

UP = "up"  #: it has served, or failed to: that it does not serve is news
FIRST_S = 300.0  #: for which one that was just started may wait before it is down: a peer that boots takes minutes


class Seen(NamedTuple):
    """A serving at one time."""

    phase: str
    failing: bool = False  # it has served, and the last probe got no token
    tcp: bool | None = None  # whether a rank is not on RDMA; None before the ranks of a start were judged
    behind: bool = False  # it waits for another engine to load, which may take as long as its own load

    @property
    def serves(self) -> bool:
        """Whether it answers."""
        return self.phase == contract.SERVING and not self.failing


class Patience(NamedTuple):
    """How long a change has to last before it is told, in seconds."""

    after_s: float  # without serving
    settle_s: float  # serving


@dataclass
class Memory:
    """What was told, which outlives the supervisor."""

    told: str = ""  #: UP, DOWN or ABANDONED; empty while it loads for the first time
    since: float = 0.0  #: when the contrary began, in seconds since the epoch; 0 while what was told is so
    on_tcp: bool = False
    rdma_since: float = 0.0  #: likewise, of ranks that are on RDMA again


def started(memory: Memory, last_phase: str, same_config: bool) -> list[str]:
    """What a supervisor tells that begins: a heartbeat, unless it only goes on after a failed start or a crash.

    :param last_phase: that the one before it was in, empty where there was none.
    """
    asked = last_phase in ("", contract.STOPPED, contract.GAVE_UP) or not same_config
    if not asked:
        return []
    if memory.told == UP:
        memory.told = ""  # it was stopped on purpose, and that it loads now is no news
    elif memory.told == contract.ABANDONED:
        memory.told = contract.DOWN  # that it gives up once more is news
    memory.since = 0.0
    return [contract.HEARTBEAT]


def step(memory: Memory, seen: Seen, now: float, patience: Patience) -> list[str]:
    """The changes to tell now. :param now: seconds since the epoch; called every second or so."""
    return [*_serving(memory, seen, now, patience), *_transport(memory, seen, now, patience)]


def shift(memory: Memory, seconds: float) -> None:
    """Follow a clock that was set by so much."""
    memory.since += seconds if memory.since else 0.0
    memory.rdma_since += seconds if memory.rdma_since else 0.0


def _serving(memory: Memory, seen: Seen, now: float, patience: Patience) -> list[str]:
    told = memory.told
    if seen.phase == contract.GAVE_UP:
        memory.told, memory.since = contract.ABANDONED, 0.0
        return [] if told == contract.ABANDONED else [contract.ABANDONED]
    if seen.phase == contract.FAILED and not told:
        told = memory.told = UP
    is_down = told in (contract.DOWN, contract.ABANDONED)
    loads_first = not told and (seen.behind or seen.phase in (contract.STARTING, ""))
    if seen.serves != is_down or loads_first or seen.phase == contract.STOPPED:
        memory.told, memory.since = (UP if seen.serves else told), 0.0
        return []
    memory.since = _began(memory.since, now)
    needed = patience.settle_s if is_down else patience.after_s if told else max(FIRST_S, patience.after_s)
    if now - memory.since < needed:
        return []
    memory.told, memory.since = (UP, 0.0) if is_down else (contract.DOWN, 0.0)
    return [contract.RECOVERED if is_down else contract.DOWN]


def _transport(memory: Memory, seen: Seen, now: float, patience: Patience) -> list[str]:
    if seen.tcp and not memory.on_tcp:
        memory.on_tcp, memory.rdma_since = True, 0.0
        return [contract.ON_TCP]
    if not memory.on_tcp or seen.tcp is not False or not seen.serves:
        memory.rdma_since = 0.0
        return []
    memory.rdma_since = _began(memory.rdma_since, now)
    if now - memory.rdma_since < patience.settle_s:
        return []
    memory.on_tcp, memory.rdma_since = False, 0.0
    return [contract.ON_RDMA]


def _began(since: float, now: float) -> float:
    """When something began that is so now; a clock that was set back begins anew."""
    return since if 0 < since <= now else now
