# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to a pair that serves, and how soon it serves again with no play: the table of docs/faults.md.

Back means: an answer, a new incarnation of every rank, on every Spark the processes of one engine alone, and a
supervisor that has seen it. Seconds are those of a machine with nothing beside (see pace.py); what follows on another's
doing waits for that, not for a time.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from dataclasses import dataclass
from typing import Iterator

import pytest

from .conftest import SPARKS, Pair, eventually
from .pace import Clock
from .test_two_spark_faults import INJECTED, incarnations, state

pytestmark = pytest.mark.matrix
CONTAINER = "$(sudo docker ps --quiet --filter name=dgx-spark-trtllm)"
#: the processes of one engine; brackets, so that a search for them does not find itself
PROCESSES = {"spark1": ["[m]gmn_leader_node", "[t]ensorrt_llm.commands.serve"], "spark2": ["[m]gmn_worker_node"]}


@dataclass(frozen=True)
class Fault:
    """``command`` runs on ``spark``, or on the lab's machine if that is empty; ``seconds``: until it is back.

    They count from ``mend``, which is ``after`` seconds later, or, where that is None, when the supervisor has begun
    another start because of the command; then they count from the command.
    """

    spark: str
    command: str
    seconds: int
    mend: str = ""
    after: int | None = 0


def inside(command: str) -> str:
    return f"sudo docker exec {CONTAINER} sh -c '{command}'"


#: what was injected, from a container that systemd starts again, once it has been ended for it
REMOVE = f'timeout 60 sh -c "until sudo docker exec \\{CONTAINER} rm -rf {INJECTED}; do sleep 0.2; done"'
FAULTS = {
    "rank 1 killed": Fault("spark2", "sudo pkill -KILL -f [m]gmn_worker_node", 120),
    "rank 0 killed": Fault("spark1", "sudo pkill -KILL -f [m]gmn_leader_node", 120),
    "server killed": Fault("spark1", "sudo pkill -KILL -f [t]ensorrt_llm.commands.serve", 120),
    "worker's container killed": Fault("spark2", f"sudo docker kill --signal KILL {CONTAINER}", 150),
    "leader's container killed": Fault("spark1", f"sudo docker kill --signal KILL {CONTAINER}", 150),
    "worker's container restarted": Fault("spark2", f"sudo docker restart --time 5 {CONTAINER}", 180),
    "leader's container restarted": Fault("spark1", f"sudo docker restart --time 30 {CONTAINER}", 180),
    "Docker restarted on the worker": Fault("spark2", "sudo systemctl restart docker", 180),
    "Docker restarted on the leader": Fault("spark1", "sudo systemctl restart docker", 180),
    "Docker killed on the worker": Fault("spark2", "sudo pkill -KILL -x dockerd", 180),
    "Docker killed on the leader": Fault("spark1", "sudo pkill -KILL -x dockerd", 180),
    "the worker rebooted": Fault("spark2", "sudo systemctl reboot; true", 240),
    "the leader rebooted": Fault("spark1", "sudo systemctl reboot; true", 240),
    "the leader's power gone": Fault("", "docker kill {lab}-spark1", 240, "docker start {lab}-spark1", 20),
    "stuck at 503": Fault("spark1", inside(f"mkdir -p {INJECTED} && touch {INJECTED}/engine-dead"), 240, REMOVE, None),
    "accepts and never answers": Fault(
        "spark1", inside(f"mkdir -p {INJECTED} && touch {INJECTED}/no-answer"), 300, REMOVE, None
    ),
}


def run(pair: Pair, spark: str, command: str) -> None:
    if spark:
        pair.host(spark).run(command)  # a reboot ends the connection
    else:
        subprocess.run(shlex.split(command.format(lab=pair.name)), check=True)


def one_engine(pair: Pair) -> bool:
    """Whether every Spark has the processes of one engine, and no other."""
    return all(
        pair.host(name).run("pgrep --count --full %s", pattern).stdout.strip() == "1"
        for name in SPARKS
        for pattern in PROCESSES[name]
    )


def back(pair: Pair, ranks: set[str], seconds: int, clock: Clock | None = None) -> None:
    """Wait until all ranks are new ones, and the supervisor has seen them.

    :param clock: one that runs already; else it begins now.
    """
    took = eventually(lambda: len(incarnations(pair) - ranks), 2, seconds, clock)
    assert one_engine(pair)
    # The engine answers before the supervisor's next look at it.
    eventually(lambda: state(pair)["phase"], "serving", seconds=30)
    print(f"back after {took}")


def serves(pair: Pair) -> set[str]:
    """Wait until what an earlier test did is over; returns the ranks."""
    eventually(lambda: (len(incarnations(pair)), state(pair)["phase"]), (2, "serving"), seconds=180)
    return incarnations(pair)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_all_ranks_come_back(serving: Pair, fault: Fault) -> None:
    ranks, began, clock = serves(serving), state(serving)["began"], None
    run(serving, fault.spark, fault.command)
    if fault.after is None:
        clock = Clock()
        eventually(lambda: state(serving)["began"] != began, True, fault.seconds, clock)
    elif fault.mend:
        time.sleep(fault.after)
    if fault.mend:
        run(serving, fault.spark, fault.mend)
    back(serving, ranks, fault.seconds, clock)


def test_a_cable_out_for_half_a_minute(serving: Pair) -> None:
    """Whether the ranks survive it or start anew, an answer comes within the time."""
    serves(serving)
    serving.play("lab/playbooks/cable.yml", virtual_spark_cable_plugged=False)
    time.sleep(30)
    serving.play("lab/playbooks/cable.yml")
    took = eventually(lambda: bool(serving.asked()), True, seconds=240)
    print(f"back after {took}")
    assert one_engine(serving)


def test_they_come_back_without_a_network_to_the_outside(serving: Pair) -> None:
    ranks = serves(serving)
    with serving.offline():
        run(serving, "spark1", "sudo systemctl reboot; true")
        run(serving, "spark2", f"sudo docker kill --signal KILL {CONTAINER}")
        back(serving, ranks, 300)


#: a program of a stranger's, that takes an address and a port as soon as they are free
TAKER = (
    "sudo systemd-run --quiet --unit taker python3 -c "
    "'import socket, time; s = socket.socket(); s.setsockopt(1, 2, 1);\n"
    'while True:\n try: s.bind(("%s", %d)); s.listen(); break\n except OSError: time.sleep(0.005)\n'
    "time.sleep(600)'"
)


def refused_by_name(pair: Pair, spark: str, address: str, port: int) -> None:
    """A play that finds a port in a stranger's hands changes nothing, and says whose they are."""
    pid = pair.host(spark).check_output("systemctl show --property MainPID --value taker")
    # Until what the last server left in TIME_WAIT has passed, not even a stranger gets it.
    listening = f"sudo ss --listening --tcp --numeric --processes --no-header 'sport = :{port}'"
    eventually(lambda: f"pid={pid}," in pair.host(spark).run(listening).stdout, True, seconds=90)
    play = pair.serve()
    assert play.status == "failed"
    assert play.changed == {}, play.made()
    said = play.words
    assert f"port {port} of {address} is taken by python3 (process {pid})" in said


def test_the_apis_port_taken_is_told_and_waited_for(serving: Pair) -> None:
    leader, ranks = serving.host("spark1"), serves(serving)
    leader.check_output(TAKER % ("127.0.0.1", 8355))
    try:
        leader.check_output(f"sudo docker kill --signal KILL {CONTAINER}")
        eventually(lambda: "127.0.0.1:8355 cannot be bound" in state(serving).get("reason", ""), True, seconds=120)
        refused_by_name(serving, "spark1", "127.0.0.1", 8355)
    finally:
        leader.check_output("sudo systemctl stop taker")
    back(serving, ranks, 180)


def test_mpis_port_taken_is_told_and_waited_for(serving: Pair) -> None:
    worker, ranks = serving.host("spark2"), serves(serving)
    address = "192.168.100.11"
    worker.check_output(TAKER % (address, 2233))
    try:
        worker.check_output(f"sudo docker kill --signal KILL {CONTAINER}")
        about = "sudo cat /var/lib/dgx-spark/trtllm/state.json"
        eventually(
            lambda: f"{address}:2233 cannot be bound" in json.loads(worker.check_output(about)).get("reason", ""),
            True,
            seconds=120,
        )
        named = f"spark2 does not let MPI in at {address}:2233"
        eventually(lambda: named in state(serving).get("reason", ""), True, seconds=120)
        refused_by_name(serving, "spark2", address, 2233)
    finally:
        worker.check_output("sudo systemctl stop taker")
    back(serving, ranks, 180)


def test_an_image_that_is_gone_from_the_worker_is_brought_again_by_the_play(serving: Pair) -> None:
    worker, ranks = serving.host("spark2"), serves(serving)
    image = worker.check_output(f"sudo docker inspect --format '{{{{.Image}}}}' {CONTAINER}")
    worker.check_output(
        f"sudo sh -c 'docker rm --force {CONTAINER.replace('sudo ', '')} && docker rmi --force {image}'"
    )
    eventually(lambda: "spark2 does not let MPI in" in state(serving).get("reason", ""), True, seconds=120)
    play = serving.serve()
    assert play.status == "successful", play.said
    assert len(incarnations(serving) - ranks) == 2
    assert worker.run(f"sudo docker image inspect {image}").succeeded


def test_sigterm_during_a_load_ends_all_ranks_within_the_grace(serving: Pair) -> None:
    leader, ranks = serving.host("spark1"), serves(serving)
    leader.check_output("sudo pkill -KILL -f [m]gmn_leader_node")
    eventually(lambda: leader.run("pgrep -f [m]gmn_leader_node").succeeded, False, seconds=30)
    eventually(lambda: leader.run("pgrep -f [m]gmn_leader_node").succeeded, True, seconds=120)
    assert state(serving)["phase"] == "starting"
    clock = Clock()
    leader.check_output(f"sudo docker stop --time 300 {CONTAINER}")
    assert clock.given() < 30
    print(f"ended after {clock}")
    eventually(lambda: serving.host("spark2").run("pgrep -f [m]gmn_worker_node").succeeded, False, seconds=10)
    if leader.run("systemctl is-enabled dgx-spark-trtllm").succeeded:
        leader.check_output("sudo systemctl start dgx-spark-trtllm")
    back(serving, ranks, 180)


def test_a_second_leader_waits_and_harms_nothing(serving: Pair) -> None:
    leader, ranks = serving.host("spark1"), serves(serving)
    image = leader.check_output(f"sudo docker inspect --format '{{{{.Image}}}}' {CONTAINER}")
    told, kept = "/etc/dgx-spark/trtllm", "/var/lib/dgx-spark/trtllm"
    inside = f"-v {told}:/etc/dgx-spark/engine:ro -v {kept}:/var/lib/dgx-spark/engine"
    start = f"sudo docker run --detach --name second --network host {inside} {image} leader"
    leader.check_output(start)
    try:
        logs = "sudo docker logs second 2>&1"
        eventually(lambda: "another run holds the lock" in leader.check_output(logs), True, seconds=30)
        time.sleep(10)
        assert state(serving)["phase"] == "serving"
        assert incarnations(serving) == ranks
        assert one_engine(serving)
    finally:
        leader.check_output("sudo docker rm --force second")


def test_a_stream_that_a_fault_cuts_does_not_look_finished(serving: Pair) -> None:
    leader, ranks = serving.host("spark1"), serves(serving)
    leader.check_output(inside(f"mkdir -p {INJECTED} && echo 0.3 > {INJECTED}/slow-tokens"))
    body = {"model": "x", "stream": True, "max_tokens": 300, "ignore_eos": True}
    body["messages"] = [{"role": "user", "content": "x"}]
    ask = f"curl --silent --no-buffer --json '{json.dumps(body)}' http://127.0.0.1:8355/v1/chat/completions"
    leader.check_output(f"({ask} > /tmp/stream; echo $? > /tmp/stream.status) </dev/null >/dev/null 2>&1 &")
    eventually(lambda: leader.check_output("cat /tmp/stream").count("data: ") > 5, True, seconds=30)
    serving.host("spark2").check_output("sudo pkill -KILL -f [m]gmn_worker_node")
    back(serving, ranks, 150)
    pieces = [line[6:] for line in leader.check_output("cat /tmp/stream").splitlines() if line.startswith("data: ")]
    assert "[DONE]" not in pieces
    whole = [json.loads(piece) for piece in pieces if piece.startswith("{")]
    assert not any(choice.get("finish_reason") for piece in whole for choice in piece.get("choices", []))


@pytest.fixture
def full(serving: Pair) -> Iterator[str]:
    """A leader whose containers' logs are on a disk of their own, of 16 MB."""
    logs = "/var/lib/docker/containers"
    leader = serving.host("spark1")
    apart = (
        f"mv {logs} {logs}.kept && mkdir {logs} && mount -t tmpfs -o size=16m none {logs} && cp -a {logs}.kept/. {logs}"
    )
    # systemd knows what Docker brings with it since it last read its units, as at every boot.
    stop, start = "systemctl stop docker.socket docker", "systemctl daemon-reload && systemctl start docker"
    leader.check_output(f"sudo sh -c '{stop} && {apart} && {start}'")
    yield logs
    together = f"cp -a {logs}/. {logs}.kept && umount -l {logs} && rmdir {logs} && mv {logs}.kept {logs}"
    leader.check_output(f"sudo sh -c 'rm -f {logs}/filler; {stop} && {together} && {start}'")
    eventually(lambda: len(incarnations(serving)), 2, seconds=180)


def test_a_full_disk_under_the_log_ends_nothing(serving: Pair, full: str) -> None:
    leader = serving.host("spark1")
    eventually(lambda: len(incarnations(serving)), 2, seconds=180)
    ranks = incarnations(serving)
    leader.run(f"sudo sh -c 'cat /dev/zero > {full}/filler'")
    assert leader.check_output(f"sudo df --output=avail {full} | tail -1").strip() == "0"
    for _ in range(30):
        assert incarnations(serving) == ranks
        time.sleep(1)
    assert state(serving)["phase"] == "serving"


def test_starts_are_bounded_and_the_play_begins_anew(serving: Pair) -> None:
    """A file of the model that is gone from one Spark fails every start."""
    play = serving.serve(engine_serve_max_starts=2)
    assert play.status == "successful", play.said
    worker, blobs = serving.host("spark2"), "~/.cache/huggingface/hub/models--lab--tiny-chat/blobs"
    blob = worker.check_output(f"ls -S {blobs}/* | head -1")
    worker.check_output(f"mv {blob} {blob}.away && sudo pkill -KILL -f [m]gmn_worker_node")
    eventually(lambda: state(serving)["phase"], "gave up", seconds=240)
    reason = state(serving)["reason"]
    assert reason.startswith("2 starts failed; the last: "), reason
    assert "rank 1" in reason
    assert "is missing" in reason
    time.sleep(15)
    assert state(serving)["phase"] == "gave up"
    assert not serving.host("spark1").run("pgrep -f [t]ensorrt_llm.commands.serve").succeeded
    worker.check_output(f"mv {blob}.away {blob}")
    play = serving.serve(engine_serve_max_starts=2)
    assert play.status == "successful", play.said
    assert len(incarnations(serving)) == 2
