# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why an engine stands still: which rank waits for whom. Pure functions of what each Spark showed.

What tells, in the order in which it counts:

* NCCL's own count of operations, asked twice: a rank that is behind both times has not launched what others wait in.
* A rank that is a zombie, that waits in the kernel (state D), or that is not there.
* The GPU: a kernel that waits for another rank keeps it at 90 % and more, at some 20 W; one that computes takes more.
  A rank whose GPU is idle beside one that spins has not launched its part.
* Bytes that a rank reads: a load goes on.

This plugin util is private to the collection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.facts import Facts, NotLookedError

SPINS, COMPUTES_W = 90.0, 25.0  #: percent of use; watts below which a GPU at that use waits, and computes nothing
IDLE = 10.0  #: percent of use
SLOW_MHZ = 900.0  #: below which a GPU is held back, and its power says nothing
MOVES_MIB, MOVES_CPU = 1.0, 0.2  #: read in a look, and processors used, by which a rank without GPU work does something
STILL_S = 120.0  #: that a start lasts already, before idle ranks are said to stand still

#: what a triage comes to
NOTHING, MOVES, IDLES = "nothing runs", "it moves", "it is idle"
RANK_GONE, IN_KERNEL, NOT_LAUNCHED, NOT_FINISHED, START_STILL = (
    "a rank is gone",
    "a rank waits in the kernel",
    "a rank has not launched its part",
    "launched by all, and never finished",
    "a start stands still",
)
STANDING = frozenset([RANK_GONE, IN_KERNEL, NOT_LAUNCHED, NOT_FINISHED, START_STILL])
#: what tells more, where it can be read
FURTHER = {"ras": "NCCL's counts", "stacks": "py-spy"}
#: where a rank that waits for others is, in the words of a stack
WAITING_FRAMES = re.compile(r"all_?reduce|all_?gather|reduce_scatter|broadcast|bcast|barrier|recv", re.IGNORECASE)
DEEP = 12  #: frames from the innermost on that are looked through


@dataclass(frozen=True)
class Side:
    """One Spark at one moment.

    :param use: percent, :param watts: and :param clock: in MHz, of the GPU; None where it does not tell.
    :param ranks: its processes, as the module tells them. :param phase: of the leader's state, empty elsewhere.
    :param phase_s: for how long that phase has not changed. :param nodes: whom the leader serves with.
    :param ras: NCCL's two answers, or none.
    :param stacks: where Python processes stand, by their number.
    """

    name: str
    use: float | None = None
    watts: float | None = None
    clock: float | None = None
    ranks: Sequence[Mapping[str, Any]] = ()
    phase: str = ""
    phase_s: float = 0.0
    nodes: tuple[str, ...] = ()
    ras: Sequence[str] = ()
    stacks: Mapping[str, str] = field(default_factory=dict)

    @property
    def spins(self) -> bool:
        """Whether its GPU waits in a kernel; one that is held at a low clock takes little power at work, too."""
        held = self.clock is not None and self.clock < SLOW_MHZ
        busy = self.use is not None and self.use >= SPINS
        return busy and not held and self.watts is not None and self.watts < COMPUTES_W

    @property
    def computes(self) -> bool:
        """Whether its GPU works."""
        return self.use is not None and self.use > IDLE and not self.spins

    @property
    def idle(self) -> bool:
        """Whether its GPU does nothing."""
        return self.use is not None and self.use <= IDLE

    @property
    def reads(self) -> bool:
        """Whether a rank reads what it loads."""
        return any(rank["read_mib"] >= MOVES_MIB for rank in self.ranks)

    @property
    def thinks(self) -> bool:
        """Whether a rank uses the processor."""
        return any(rank["cpu"] >= MOVES_CPU for rank in self.ranks)


@dataclass(frozen=True)
class Triage:
    """What it comes to, in words, and the Sparks to look at first."""

    kind: str
    words: str = ""
    look_at: tuple[str, ...] = ()

    @property
    def stands_still(self) -> bool:
        """Whether that is a fault."""
        return self.kind in STANDING


def side(facts: Facts) -> Side:
    """One Spark's part, of its facts. :raises NotLookedError: where nothing tells what its ranks do."""
    looked = facts.get("ranks")
    samples = [one for one in looked["gpu"] if one.get("utilization") is not None]
    serving = next((one for one in facts.servings() if one["rank"] == 0 and one["phase"]), None)
    since = float(serving["state"].get("at") or 0) if serving else 0.0
    ras = facts.get("ras") if "ras" in facts.read else []
    return Side(
        name=facts.name,
        # what a GPU does at both looks: a kernel that ends between them is work
        use=min(one["utilization"] for one in samples) if samples else None,
        watts=max((one["power_w"] or 0.0) for one in samples) if samples else None,
        clock=max((one["clock_mhz"] or 0.0) for one in samples) if samples else None,
        ranks=looked["processes"],
        phase=str(serving["phase"]) if serving else "",
        phase_s=max(0.0, facts.at - since) if since else 0.0,
        nodes=tuple(serving["nodes"]) if serving else (),
        ras=ras,
        stacks=facts.get("stacks") if "stacks" in facts.read else {},
    )


def triage(sides: Sequence[Side]) -> Triage:
    """What the Sparks together come to."""
    with_ranks = [one for one in sides if one.ranks]
    if not with_ranks:
        return Triage(NOTHING)
    if gone := _gone(sides):
        return gone
    if kernel := _in_kernel(with_ranks):
        return kernel
    behind = _behind(sides)
    spinning = [one.name for one in with_ranks if one.spins]
    if behind:
        return Triage(NOT_LAUNCHED, f"{behind}{_stacks(with_ranks)}", _named(behind, with_ranks))
    if spinning and len(spinning) < len(with_ranks):
        others = [one.name for one in with_ranks if not one.spins and not one.computes]
        if others:
            words = (
                f"the GPU of {_list(spinning)} waits in a collective ({_numbers(with_ranks, spinning)}), and that of "
                f"{_list(others)} has nothing to do ({_numbers(with_ranks, others)}): {_list(spinning)} waits for "
                f"{_list(others)}, whose part was never launched"
            )
            return Triage(NOT_LAUNCHED, words + _stacks(with_ranks), tuple(others))
    if spinning and len(spinning) == len(with_ranks):
        numbers = _numbers(with_ranks, spinning)
        words = f"the GPU of {spinning[0]} waits in a kernel that does not finish ({numbers})"
        if len(with_ranks) > 1:
            words = (
                f"the GPUs of all ranks wait in a kernel ({numbers}): what they wait in was launched by all of them, "
                "and does not finish, so that the way between them, or the build of NCCL, is at fault"
            )
        return Triage(NOT_FINISHED, words + _stacks(with_ranks), tuple(spinning) if len(with_ranks) == 1 else ())
    if any(one.computes or one.reads for one in with_ranks):
        return Triage(MOVES)
    leader = next((one for one in sides if one.phase), None)
    if leader and leader.phase == contract.STARTING and leader.phase_s >= STILL_S:
        if any(one.thinks for one in with_ranks):
            return Triage(MOVES)  # it compiles, or tunes
        return Triage(
            START_STILL,
            f"{leader.name} starts the engine, says nothing new for {leader.phase_s / 60:.0f} minutes, and no rank "
            f"uses its GPU, its processor or its disk: all wait for one another{_stacks(with_ranks)}",
        )
    return Triage(IDLES)


def _gone(sides: Sequence[Side]) -> Triage | None:
    ranks = [(one.name, rank) for one in sides for rank in one.ranks if rank["rank"] is not None]
    zombies = [(name, rank) for name, rank in ranks if rank["state"] == "Z"]
    if zombies:
        told = ", ".join(f"rank {rank['rank']} on {name}" for name, rank in zombies)
        return Triage(RANK_GONE, f"{told} has ended, and the others run on", tuple(name for name, _rank in zombies))
    leader = next((one for one in sides if one.phase == contract.SERVING), None)
    missing = [one.name for one in sides if leader and one.name in leader.nodes and not one.ranks]
    if leader and missing and leader.ranks:
        words = f"{leader.name} says that it serves, and {_list(missing)} runs no process of an engine"
        return Triage(RANK_GONE, words, tuple(missing))
    return None


def _in_kernel(sides: Sequence[Side]) -> Triage | None:
    stuck = [
        (one.name, rank)
        for one in sides
        for rank in one.ranks
        if {rank["state"], rank["state_before"]} == {"D"} and rank["cpu"] < MOVES_CPU and rank["read_mib"] < MOVES_MIB
    ]
    if not stuck:
        return None
    told = ", ".join(f"{rank['name']} ({rank['pid']}) on {name} in {rank['wchan'] or 'a call'}" for name, rank in stuck)
    words = f"{told} waits in the kernel and does not move: its disk or its driver hangs"
    return Triage(IN_KERNEL, words, tuple(dict.fromkeys(name for name, _rank in stuck)))


# --- NCCL's RAS ------------------------------------------------------------------------------------------------------

_LAUNCHED = re.compile(
    r"Rank (?P<rank>\d+) has (?:launched up to operation (?P<count>\d+)|not launched any operations)"
    r"(?: -- .*? on node (?P<node>\S+))?"
)
_DEAD = re.compile(r"(?P<count>\d+) job process(?:es are| is) considered dead")
_KIND = re.compile(r"Communicator ranks have different (?P<kind>\w+) operation counts")


def counts_of(answer: str) -> dict[tuple[str, int], int]:
    """How many operations each rank has launched, where NCCL says that they differ, by kind and rank.

    >>> said = "  Communicator ranks have different AllReduce operation counts\\n"
    >>> said += "  Rank 0 has launched up to operation 70 -- GPU 0 managed by process 9 on node 10.0.0.1\\n"
    >>> counts_of(said + "  Rank 1 has not launched any operations -- GPU 0 managed by process 8 on node 10.0.0.2\\n")
    {('AllReduce', 0): 70, ('AllReduce', 1): 0}
    """
    found: dict[tuple[str, int], int] = {}
    kind = ""
    for line in answer.splitlines():
        if named := _KIND.search(line):
            kind = named["kind"]
        elif kind and (told := _LAUNCHED.search(line)):
            found[kind, int(told["rank"])] = int(told["count"] or 0)
    return found


def dead_in(answer: str) -> int:
    """How many processes NCCL takes for dead."""
    told = _DEAD.search(answer)
    return int(told["count"]) if told else 0


def _behind(sides: Sequence[Side]) -> str:
    """Which rank is behind at both looks and has not moved between them, in words; empty where none is."""
    for one in sides:
        if len(one.ras) < 2:
            continue
        if dead := dead_in(one.ras[-1]):
            return f"NCCL on {one.name} takes {dead} of its processes for dead"
        first, second = counts_of(one.ras[0]), counts_of(one.ras[-1])
        if not first or first != second:
            continue  # they agree, or are on their way
        kind = max(second, key=second.__getitem__)[0]
        counts = {rank: count for (name, rank), count in second.items() if name == kind}
        most, least = max(counts.values()), min(counts.values())
        ahead = [f"rank {rank}" for rank, count in counts.items() if count == most]
        late = [f"rank {rank}" for rank, count in counts.items() if count == least]
        return (
            f"NCCL counts {most} {kind} launched by {_list(ahead)} and {least} by {_list(late)}, and neither moved "
            f"between two looks: {_list(ahead)} waits for {_list(late)}"
        )
    return ""


def _named(words: str, sides: Sequence[Side]) -> tuple[str, ...]:
    """The Sparks of the ranks that the others wait for, where their processes tell their numbers."""
    late = {int(number) for number in re.findall(r"rank (\d+)", words.rpartition(" waits for ")[2])}
    return tuple(one.name for one in sides if any(rank["rank"] in late for rank in one.ranks))


# --- stacks ----------------------------------------------------------------------------------------------------------


def frames_of(stack: str) -> list[str]:
    """The frames of a process's main thread, the innermost first, of what ``py-spy dump`` prints.

    >>> frames_of('Thread 1 (active): "MainThread"\\n    Event.wait (threading.py:659)\\n    all_reduce (x.py:4)\\n')
    ['Event.wait (threading.py:659)', 'all_reduce (x.py:4)']
    """
    _before, found, after = stack.partition('"MainThread"')
    lines = (after if found else stack.partition("Thread ")[2]).splitlines()[1:]
    end = next((place for place, line in enumerate(lines) if not line.startswith("    ")), len(lines))
    return [line.strip() for line in lines[:end]]


def stands_in(stack: str) -> str:
    """Where a process stands, in words: the innermost frame, and the call in which it waits for other ranks."""
    frames = frames_of(stack)
    waits = next((frame for frame in frames[:DEEP] if WAITING_FRAMES.search(frame)), "")
    if not frames:
        return ""
    return frames[0] if waits in ("", frames[0]) else f"{frames[0]}, called by {waits}"


def _stacks(sides: Sequence[Side]) -> str:
    """Of each rank where it stands, as a further sentence; empty where nobody consented to that."""
    told = [
        f"process {pid} on {one.name} stands in {place}"
        for one in sides
        for pid, stack in one.stacks.items()
        if (place := stands_in(stack))
    ]
    return f". By py-spy: {'; '.join(told)}" if told else ""


def _numbers(sides: Sequence[Side], names: Sequence[str]) -> str:
    known = [one for one in sides if one.name in names and one.use is not None]
    return ", ".join(f"{one.name} {one.use:g} % at {one.watts or 0:g} W" for one in known)


def _list(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def looked(hosts: Sequence[Facts]) -> tuple[list[Side], list[NotLookedError]]:
    """The parts of the Sparks that can be read, and why others cannot."""
    found, blind = [], []
    for host in hosts:
        try:
            found.append(side(host))
        except NotLookedError as error:
            blind.append(error)
        more = [f"without {name}: {host.unread[part]}" for part, name in FURTHER.items() if part in host.unread]
        blind += [NotLookedError(why, host.name) for why in more]
    return found, blind
