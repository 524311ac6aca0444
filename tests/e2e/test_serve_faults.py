# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to a pair that serves, and how soon it serves again with no play.

Back means: an answer, and a new incarnation of every rank.
"""

from __future__ import annotations

import shlex
import subprocess
import time
from dataclasses import dataclass

import pytest

from .conftest import Pair, Run, eventually
from .test_two_spark_faults import incarnations, state

pytestmark = pytest.mark.matrix
CONTAINER = "$(sudo docker ps --quiet --filter name=dgx-spark-trtllm_)"
INJECTED = "/run/virtual-spark-engine/faults"


@dataclass(frozen=True)
class Fault:
    """``command`` runs on ``spark``, or on the lab's machine if that is empty; ``seconds``: until it is back."""

    spark: str
    command: str
    seconds: int
    mend: str = ""
    after: int = 0  # seconds from the one to the other


def inside(command: str) -> str:
    return f"sudo docker exec {CONTAINER} sh -c '{command}'"


FAULTS = {
    "rank 1 killed": Fault("spark2", "sudo pkill -KILL -f '^[^ ]*python[^ ]* [^ ]*trtllm'", 120),
    "rank 0 killed": Fault("spark1", "sudo pkill -KILL -f '^[^ ]*python[^ ]* [^ ]*trtllm'", 120),
    "worker's container killed": Fault("spark2", f"sudo docker kill --signal KILL {CONTAINER}", 150),
    "leader's container killed": Fault("spark1", f"sudo docker kill --signal KILL {CONTAINER}", 150),
    "worker's container restarted": Fault("spark2", f"sudo docker restart --time 5 {CONTAINER}", 180),
    "leader's container restarted": Fault("spark1", f"sudo docker restart --time 5 {CONTAINER}", 180),
    "Docker restarted on the worker": Fault("spark2", "sudo systemctl restart docker", 180),
    "Docker restarted on the leader": Fault("spark1", "sudo systemctl restart docker", 180),
    "the worker rebooted": Fault("spark2", "sudo systemctl reboot; true", 240),
    "the leader rebooted": Fault("spark1", "sudo systemctl reboot; true", 240),
    "the leader's power gone": Fault("", "docker kill {lab}-spark1", 240, "docker start {lab}-spark1", 20),
    "stuck at 503": Fault("spark1", inside(f"mkdir -p {INJECTED} && touch {INJECTED}/engine-dead"), 240),
    "accepts and never answers": Fault("spark1", inside(f"mkdir -p {INJECTED} && touch {INJECTED}/no-answer"), 300),
}


def run(pair: Pair, spark: str, command: str) -> None:
    if spark:
        pair.host(spark).run(command)  # a reboot ends the connection
    else:
        subprocess.run(shlex.split(command.format(lab=pair.name)), check=True)


@pytest.fixture(scope="module")
def serving(pair: Pair, first: tuple[Run, int]) -> Pair:
    """A supervisor that looks often and forgives early, so that a table of many faults does not use up its patience."""
    run = pair.serve(trtllm_serve_canary_interval=5, trtllm_serve_canary_timeout=10, trtllm_serve_max_starts=50)
    assert run.status == "successful", run.said
    return pair


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_all_ranks_come_back(serving: Pair, fault: Fault, record_property) -> None:
    ranks = incarnations(serving)
    assert len(ranks) == 2
    began = time.monotonic()
    run(serving, fault.spark, fault.command)
    if fault.mend:
        time.sleep(fault.after)
        run(serving, fault.spark, fault.mend)
    eventually(lambda: len(incarnations(serving) - ranks), 2, seconds=fault.seconds)
    record_property("seconds", round(time.monotonic() - began))
    print(f"back after {time.monotonic() - began:.0f} s")
    assert state(serving)["phase"] == "serving"


def test_a_cable_out_for_half_a_minute(serving: Pair) -> None:
    """Whether the ranks survive it or start anew, an answer comes within the time."""
    serving.play("lab_cable.yml", virtual_spark_cable_plugged=False)
    time.sleep(30)
    serving.play("lab_cable.yml")
    began = time.monotonic()
    eventually(lambda: bool(serving.asked()), True, seconds=240)
    print(f"back after {time.monotonic() - began:.0f} s")


def test_a_port_that_a_stranger_took_is_named_and_waited_for(serving: Pair) -> None:
    leader, ranks = serving.host("spark1"), incarnations(serving)
    take = "sudo systemd-run --unit taker python3 -c " + (
        "'import socket, time; s = socket.socket(); s.setsockopt(1, 2, 1);\n"
        'while True:\n try: s.bind(("127.0.0.1", 8355)); break\n except OSError: time.sleep(0.01)\n'
        "s.listen(); time.sleep(600)'"
    )
    leader.check_output(take)
    try:
        leader.check_output(f"sudo docker kill --signal KILL {CONTAINER}")
        eventually(lambda: "127.0.0.1:8355 cannot be bound" in state(serving).get("reason", ""), True, seconds=120)
    finally:
        leader.check_output("sudo systemctl stop taker")
    eventually(lambda: len(incarnations(serving) - ranks), 2, seconds=180)
