# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rank waits for whom, of what each Spark shows at two looks."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor import hang, judge
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.facts import Facts
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.hang import Side
from doctor_cases import MEMBERS, NOW, damaged, gpu_now, pair, process

RANKS = ([process(0, pid=10)], [process(1, pid=11)])

#: in the form of NCCL 2.29's client_support.cc, of ranks of which one is behind
RAS = """\
NCCL version 2.29.2 compiled with CUDA 13.0
CUDA runtime version 13000, driver version 13000

Communicators... (0.00s)
=============

Group     Comms     Nodes     Ranks     Ranks     Ranks    Status  Errors
    #  in group  per comm  per node  per comm  in group
    0         1         2         1         2         2   RUNNING  MISMATCH

Errors
======

Warnings
========

#0-0 (1a2b3c4d5e6f7081) MISMATCH
  Communicator ranks have different Broadcast operation counts
  Rank 0 has launched up to operation 3 -- GPU 0 managed by process 10 on node 192.168.100.1
  Rank 1 has launched up to operation 2 -- GPU 0 managed by process 11 on node 192.168.100.2

  Communicator ranks have different AllReduce operation counts
  Rank 0 has launched up to operation {ahead} -- GPU 0 managed by process 10 on node 192.168.100.1
  Rank 1 has launched up to operation 6649 -- GPU 0 managed by process 11 on node 192.168.100.2

"""
AGREED = RAS.partition("#0-0")[0]
DEAD = RAS.partition("#0-0")[0].replace(
    "======\n\nWarnings",
    "======\n\nDEAD\n  1 job process is considered dead (unreachable via the RAS network)\n\nWarnings",
)
#: of py-spy 0.4.3, without the process's own line
STACK = """\
v3.13.5 (/usr/bin/python3.13)

Thread 1 (active): "MainThread"
    Condition.wait (threading.py:359)
    Event.wait (threading.py:659)
    all_reduce (<string>:4)
    main (<string>:6)
    <module> (<string>:7)
Thread 2 (idle): "Thread-1"
    recv (zmq/sugar.py:7)
"""


def sides(one: dict[str, Any], two: dict[str, Any]) -> list[Side]:
    """Two Sparks, whose GPUs are idle and whose ranks sleep, but for what is given."""
    given = ({"use": 0.0, "watts": 4.0, "ranks": RANKS[n], **more} for n, more in enumerate((one, two)))
    return [Side(name=name, **more) for name, more in zip(MEMBERS, given)]


SPINS = {"use": 96.0, "watts": 20.0, "clock": 2411.0}
WORKS = {"use": 96.0, "watts": 70.0}
STARTS = {"phase": "starting", "phase_s": 600.0, "nodes": MEMBERS}
SERVES = {"phase": "serving", "phase_s": 600.0, "nodes": MEMBERS}


@pytest.mark.parametrize(
    ("one", "two", "kind", "look_at", "words"),
    [
        # nothing stands still
        ({"ranks": ()}, {"ranks": ()}, hang.NOTHING, (), ""),
        (SERVES, {}, hang.IDLES, (), ""),
        (WORKS, WORKS, hang.MOVES, (), ""),
        (SPINS, WORKS, hang.MOVES, (), ""),
        ({**SPINS, "clock": 513.0}, {**SPINS, "clock": 513.0}, hang.MOVES, (), ""),  # slow, and at work
        ({**STARTS, "ranks": [process(0, read_mib=400.0)]}, {}, hang.MOVES, (), ""),
        ({**STARTS, "ranks": [process(0, cpu=1.0)]}, {}, hang.MOVES, (), ""),
        ({**STARTS, "phase_s": 30.0}, {}, hang.IDLES, (), ""),
        ({"use": None, "watts": None}, {"use": None, "watts": None}, hang.IDLES, (), ""),
        # one spins
        (SPINS, {}, hang.NOT_LAUNCHED, ("spark2",), "spark1 waits for spark2, whose part was never launched"),
        ({}, SPINS, hang.NOT_LAUNCHED, ("spark1",), "spark2 waits for spark1"),
        (SPINS, SPINS, hang.NOT_FINISHED, (), "launched by all of them"),
        # NCCL tells which, also where both spin
        (
            {**SPINS, "ras": [RAS.format(ahead=6650)] * 2},
            SPINS,
            hang.NOT_LAUNCHED,
            ("spark2",),
            "6650 AllReduce launched by rank 0 and 6649 by rank 1, and neither moved .*: rank 0 waits for rank 1",
        ),
        ({**WORKS, "ras": [RAS.format(ahead=6650), RAS.format(ahead=6651)]}, WORKS, hang.MOVES, (), ""),
        ({**SPINS, "ras": [AGREED, AGREED]}, SPINS, hang.NOT_FINISHED, (), "launched by all"),
        ({**SPINS, "ras": [DEAD, DEAD]}, SPINS, hang.NOT_LAUNCHED, (), "takes 1 of its processes for dead"),
        ({**SPINS, "ras": [RAS.format(ahead=6650)]}, SPINS, hang.NOT_FINISHED, (), "launched by all"),
        # ranks that are gone, or stuck in the kernel
        ({"ranks": [process(0, state="Z")]}, SPINS, hang.RANK_GONE, ("spark1",), "rank 0 on spark1 has ended"),
        (SERVES, {"ranks": ()}, hang.RANK_GONE, ("spark2",), "spark2 runs no process"),
        ({**SERVES, "nodes": ("spark1",)}, {"ranks": ()}, hang.IDLES, (), ""),
        (
            {"ranks": [process(0, state="D", state_before="D", wchan="nvidia_ioctl", cpu=0.0)]},
            {},
            hang.IN_KERNEL,
            ("spark1",),
            "python3 .4000. on spark1 in nvidia_ioctl waits in the kernel",
        ),
        ({"ranks": [process(0, state="D", state_before="S")]}, {}, hang.IDLES, (), ""),
        ({"ranks": [process(0, state="D", state_before="D", read_mib=300.0)]}, {}, hang.MOVES, (), ""),
        # a start in which all wait for one another
        (STARTS, {}, hang.START_STILL, (), "says nothing new for 10 minutes"),
        # where ranks stand, if that was consented to
        (
            {**SPINS, "stacks": {"10": STACK}},
            {},
            hang.NOT_LAUNCHED,
            ("spark2",),
            "process 10 on spark1 stands in Condition.wait .*, called by all_reduce",
        ),
    ],
)
def test_what_it_comes_to(
    one: dict[str, Any], two: dict[str, Any], kind: str, look_at: tuple[str, ...], words: str
) -> None:
    found = hang.triage(sides(one, two))
    assert (found.kind, found.look_at) == (kind, look_at)
    assert found.stands_still == bool(found.words)
    assert re.search(words, found.words), found.words


def test_one_spark_alone_can_hang_too() -> None:
    found = hang.triage(sides(SPINS, {})[:1])
    assert (found.kind, found.look_at) == (hang.NOT_FINISHED, ("spark1",))
    assert "the GPU of spark1 waits in a kernel that does not finish (spark1 96 % at 20 W)" in found.words


def test_counts_of_what_ncll_says() -> None:
    assert hang.counts_of(RAS.format(ahead=6650)) == {
        ("Broadcast", 0): 3,
        ("Broadcast", 1): 2,
        ("AllReduce", 0): 6650,
        ("AllReduce", 1): 6649,
    }
    assert hang.counts_of(AGREED) == {}
    assert (hang.dead_in(DEAD), hang.dead_in(AGREED)) == (1, 0)


@pytest.mark.parametrize(
    ("stack", "place"),
    [
        (STACK, "Condition.wait (threading.py:359), called by all_reduce (<string>:4)"),
        ('Thread 1 (idle): "MainThread"\n    recv (x.py:1)\n    main (x.py:2)\n', "recv (x.py:1)"),
        ('Thread 1 (active): "MainThread"\n    forward (x.py:1)\n', "forward (x.py:1)"),
        ("Thread 7 (idle)\n    poll (x.py:1)\n", "poll (x.py:1)"),
        ('Thread 1 (idle): "MainThread"\n', ""),
        ("(py-spy ends with status 1: no)", ""),
        ("", ""),
    ],
)
def test_where_a_rank_stands(stack: str, place: str) -> None:
    assert hang.stands_in(stack) == place


def test_a_side_is_what_a_gpu_does_at_both_looks() -> None:
    told = damaged({"spark1.read.ranks.gpu": [gpu_now(96, 20), gpu_now(10, 4)]})
    one = hang.side(Facts("spark1", told["spark1"], MEMBERS))
    assert (one.use, one.watts, one.phase, one.phase_s) == (10.0, 20.0, "serving", 60.0)
    assert not one.spins
    two = hang.side(Facts("spark2", told["spark2"], MEMBERS))
    assert (two.phase, two.nodes) == ("", ()), "a worker's state says nothing of the engine"


def test_a_gpu_that_tells_nothing_is_not_taken_for_idle() -> None:
    told = damaged({"spark1.read.ranks.gpu": []})
    one = hang.side(Facts("spark1", told["spark1"], MEMBERS))
    assert (one.use, one.idle, one.spins, one.computes) == (None, False, False, False)


def test_one_spark_that_was_not_read_does_not_hide_the_other() -> None:
    told = damaged({"spark1.read.ranks.gpu": [gpu_now(96, 20, 2411)] * 2})
    del told["spark2"]["read"]["ranks"]
    report = judge.judge(told, MEMBERS, ["engine_hangs"])
    assert [one["hosts"] for one in report.findings] == [["spark1"]]
    assert [(one.host, one.checks) for one in report.not_looked] == [("spark2", ("engine_hangs",))]
    sides_seen, blind = hang.looked([Facts(name, {"read": {"x": 1}, "at": NOW}, MEMBERS) for name in MEMBERS])
    assert (sides_seen, len(blind)) == ([], 2)


def test_what_would_have_told_more_is_named() -> None:
    told = pair()
    told["spark2"]["unread"]["stacks"] = "py-spy is not on this host"
    report = judge.judge(told, MEMBERS)
    assert report.findings == []
    assert [(one.host, one.why) for one in report.not_looked] == [
        ("spark2", "without py-spy: py-spy is not on this host")
    ]


def test_a_sound_pair_does_not_hang() -> None:
    sides_seen, blind = hang.looked([Facts(name, told, MEMBERS) for name, told in pair().items()])
    assert not hang.triage(sides_seen).stands_still
    assert blind == []
