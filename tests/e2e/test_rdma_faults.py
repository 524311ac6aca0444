# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RDMA that goes and comes under a pair that serves, with no play: no start serves over TCP, or counts for that.

The last tests are of a DGX OS that takes a card without a live cable off the bus. The card comes back with other
network devices and other device nodes.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import Any, Iterator

import pytest

from .conftest import SPARKS, Pair, eventually
from .pace import Clock
from .test_serve_faults import CONTAINER, back, inside, one_engine, serves
from .test_two_spark_faults import INJECTED, incarnations, state

pytestmark = pytest.mark.matrix
FAULTS = "/etc/virtual-spark/faults"
STATE = "/var/lib/dgx-spark/trtllm/state.json"


@contextmanager
def broken(pair: Pair, spark: str, fault: str) -> Iterator[None]:
    """A Spark with one of the lab's faults."""
    host = pair.host(spark)
    host.check_output(f"sudo mkdir -p {FAULTS} && sudo touch {FAULTS}/{fault}")
    time.sleep(2)  # the hardware's stand-in looks once a second
    try:
        yield
    finally:
        host.check_output(f"sudo rm -f {FAULTS}/{fault}")


def killed(pair: Pair, spark: str) -> None:
    pair.host(spark).check_output(f"sudo docker kill --signal KILL {CONTAINER}")


def seen(pair: Pair, seconds: int) -> list[dict[str, Any]]:
    """What the leader's state said within some seconds, looked at again and again, once the killed one has ended."""
    end, found = time.monotonic() + seconds, []
    while time.monotonic() < end:
        about = state(pair)
        if not found or found[-1] != about:
            found.append(about)
        time.sleep(0.5)
    return found


def counted(pair: Pair) -> int:
    return int(state(pair)["starts"])


@pytest.mark.parametrize("spark", ["spark2", "spark1"], ids=["the worker", "the leader"])
def test_without_uverbs_it_waits_and_never_serves_over_tcp(serving: Pair, spark: str) -> None:
    """rdma_cm is there without any card, so the directory /dev/infiniband is too."""
    ranks, starts = serves(serving), counted(serving)
    with broken(serving, spark, "rdma-uverbs-missing"):
        killed(serving, spark)
        eventually(lambda: state(serving)["phase"] == "serving", False, seconds=60)
        named = [f"{spark}", "uverbs0"]
        eventually(lambda: all(word in state(serving).get("reason", "") for word in named), True, seconds=60)
        told = seen(serving, 20)
        assert {one["phase"] for one in told} == {"waiting"}, told
        assert incarnations(serving) == set()
    back(serving, ranks, 180)
    assert counted(serving) <= starts + 1
    assert {one["transport"] for one in state(serving)["ranks"].values()} == {"IB"}


@pytest.mark.parametrize("spark", ["spark2", "spark1"], ids=["the worker", "the leader"])
def test_a_container_with_old_device_numbers_is_made_anew(serving: Pair, spark: str) -> None:
    """As after a card that was taken off the bus and came back under a container that runs."""
    ranks, starts = serves(serving), counted(serving)
    old = serving.host(spark).check_output(f"sudo docker inspect --format '{{{{.State.StartedAt}}}}' {CONTAINER}")
    with broken(serving, spark, "rdma-uverbs-renumbered"):
        back(serving, ranks, 180)
        new = serving.host(spark).check_output(f"sudo docker inspect --format '{{{{.State.StartedAt}}}}' {CONTAINER}")
        assert new != old
        assert state(serving)["phase"] == "serving"
        assert {one["transport"] for one in state(serving)["ranks"].values()} == {"IB"}
        assert counted(serving) <= starts + 1
        again = incarnations(serving)
    back(serving, again, 180)  # numbers as before: anew again


@pytest.mark.parametrize("fault", ["nccl-behind", "nccl-silent"])
def test_a_rank_whose_line_is_hidden_or_missing_serves_and_is_judged(serving: Pair, fault: str) -> None:
    ranks, worker = serves(serving), serving.host("spark2")
    worker.check_output(inside(f"mkdir -p {INJECTED} && touch {INJECTED}/{fault}"))
    try:
        killed(serving, "spark1")
        back(serving, ranks, 180)
        eventually(lambda: state(serving)["phase"], "serving", seconds=30)
        rank = state(serving)["ranks"]["spark2"]
        assert rank["transport"] == "IB"
        assert ("counters" in rank["devices"]) == (fault == "nccl-silent")
        play = serving.serve()
        assert play.status == "successful", play.said
        assert play.changed == {}, play.made()
    finally:
        worker.check_output(inside(f"rm -f {INJECTED}/{fault}"))


def test_a_rank_without_a_line_and_without_rdma_traffic_fails_the_start(serving: Pair) -> None:
    ranks, worker = serves(serving), serving.host("spark2")
    worker.check_output(inside(f"mkdir -p {INJECTED} && touch {INJECTED}/nccl-silent"))
    with broken(serving, "spark2", "rdma-counters-still"):
        killed(serving, "spark1")
        eventually(lambda: "rank 1 on spark2" in state(serving).get("last_end", ""), True, seconds=120)
        assert "NCCL named no transport" in state(serving)["last_end"]
        assert {one["phase"] for one in seen(serving, 5)} <= {"failed", "waiting", "starting", "gave up"}
        worker.check_output(inside(f"rm -f {INJECTED}/nccl-silent"))
    back(serving, ranks, 180)
    assert one_engine(serving)


def test_a_worker_says_in_its_own_state_what_it_waits_for(serving: Pair) -> None:
    ranks, worker = serves(serving), serving.host("spark2")
    with broken(serving, "spark2", "rdma-uverbs-missing"):
        killed(serving, "spark2")
        eventually(
            lambda: "uverbs" in json.loads(worker.check_output(f"sudo cat {STATE}")).get("reason", ""), True, seconds=60
        )
    back(serving, ranks, 180)


SWITCH, MARKER = "/etc/virtual-spark/hotplug", "/etc/nvidia/cx7-hotplug-enabled"


def reboot(pair: Pair, *sparks: str) -> None:
    for spark in sparks:
        pair.host(spark).run("sudo systemctl reboot")  # ends the connection


def cards(pair: Pair) -> dict[str, tuple[str, ...]]:
    """By Spark the indexes of its ConnectX-7 netdevs: others for a card that came back, none while it is away."""
    found = {}
    for spark in SPARKS:
        try:
            said = pair.host(spark).run("cat /sys/class/net/en[pP]*s0f*np*/ifindex")
            found[spark] = tuple(said.stdout.split()) if said.succeeded else ()
        except RuntimeError:  # ssh does not get there
            found[spark] = ()
    return found


@pytest.fixture(scope="module")
def armed(serving: Pair) -> Iterator[Pair]:
    """A pair that serves, both of which booted with hot-plug armed and the cable in."""
    ranks = serves(serving)
    for spark in SPARKS:
        serving.host(spark).check_output(f"echo 5 | sudo tee {SWITCH} && sudo install -D /dev/null {MARKER}")
    clock = Clock()
    reboot(serving, *SPARKS)
    back(serving, ranks, 300, clock)
    yield serving
    ranks = serves(serving)
    for spark in SPARKS:
        serving.host(spark).check_output(f"sudo rm {MARKER}")
    reboot(serving, *SPARKS)
    back(serving, ranks, 300)


@pytest.mark.parametrize("sparks", [SPARKS[1:], SPARKS[:1], SPARKS], ids=["the worker", "the leader", "both"])
def test_a_reboot_that_takes_the_peer_s_card_is_got_over(armed: Pair, sparks: tuple[str, ...]) -> None:
    ranks, before = serves(armed), cards(armed)
    clock = Clock()
    reboot(armed, *sparks)
    back(armed, ranks, 300, clock)
    after = cards(armed)
    for spark in set(SPARKS) - set(sparks):
        assert not set(before[spark]) & set(after[spark]), "its card never left the bus"
    assert {one["transport"] for one in state(armed)["ranks"].values()} == {"IB"}


def test_a_cable_that_takes_both_cards_is_got_over_and_counts_as_no_start(armed: Pair) -> None:
    ranks, starts, before = serves(armed), counted(armed), cards(armed)
    armed.play("lab/playbooks/cable.yml", virtual_spark_cable_plugged=False)
    eventually(lambda: cards(armed), dict.fromkeys(SPARKS, ()), seconds=60)
    eventually(lambda: state(armed)["phase"], "waiting", seconds=120)
    told = seen(armed, 20)
    assert {one["phase"] for one in told} == {"waiting"}, told
    armed.play("lab/playbooks/cable.yml")
    back(armed, ranks, 300)
    after = cards(armed)
    assert all(not set(before[spark]) & set(after[spark]) for spark in SPARKS)
    assert counted(armed) <= starts + 1
    assert {one["transport"] for one in state(armed)["ranks"].values()} == {"IB"}
