# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""stop.yml, start.yml and restart.yml on a pair that serves, and what a boot makes of a pair that serves or is stopped.

All of it under both launchers. The last test of each takes away what is stopped.
"""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import pytest

from .conftest import SPARKS, Pair, Run, at_task, eventually
from .test_rdma_faults import reboot
from .test_serve_faults import back, inside, one_engine, serves
from .test_status import kinds, status
from .test_two_spark_faults import INJECTED, incarnations, state

pytestmark = pytest.mark.matrix
STATE, UNIT = "/var/lib/dgx-spark/trtllm/state.json", "dgx-spark-trtllm"
STOP, START = "Stop the engine", "Start the engine"


def good(run: Run) -> Run:
    assert run.status == "successful", run.said
    return run


def swarm(pair: Pair) -> bool:
    return pair.variables["spark_launcher"] == "swarm"


def everywhere(pair: Pair, name: str) -> dict[str, set[str]]:
    """A change on all Sparks; the leader alone starts a Swarm's services."""
    hosts = SPARKS[:1] if swarm(pair) and name == START else SPARKS
    return {host: {name} for host in hosts}


def containers(pair: Pair, spark: str) -> list[str]:
    """The containers of the serving that run on a Spark."""
    listed = pair.host(spark).check_output("sudo docker ps --filter name=dgx-spark-trtllm --format '{{.Names}}'")
    return listed.split()


def is_up(pair: Pair, *sparks: str) -> bool:
    """Whether Sparks have booted as far as to answer for Docker."""
    try:
        return all(pair.host(spark).run("sudo docker info").succeeded for spark in sparks)
    except RuntimeError:  # ssh does not get there
        return False


def is_stopped(pair: Pair) -> None:
    """Nothing runs, nothing will by itself, all that was configured is there, and the state says so on both."""
    for spark in SPARKS:
        host = pair.host(spark)
        assert containers(pair, spark) == []
        said = json.loads(host.check_output(f"sudo cat {STATE}"))
        assert (said["phase"], said["reason"]) == ("stopped", "stopped by stop.yml")
        assert host.run("pgrep -f '[m]gmn_leader_node|[m]gmn_worker_node'").failed
        assert host.check_output("sudo docker image ls --quiet --filter label=dgx-spark=trtllm-serve")
        assert host.file("/etc/dgx-spark/trtllm/cluster.json").exists
        if not swarm(pair):
            assert host.run(f"systemctl is-enabled {UNIT}").stdout.strip() == "disabled"
            assert host.run(f"systemctl is-active {UNIT}").stdout.strip() == "inactive"
    if swarm(pair):
        leader = pair.host("spark1")
        listed = leader.check_output("sudo docker service ls --format '{{.Name}} {{.Replicas}}'").splitlines()
        listed = [line.partition(" (")[0] for line in listed]  # of which some say how many a node has at most
        assert sorted(listed) == [f"{UNIT}_leader 0/0", f"{UNIT}_worker 0/0"]
        assert len(leader.check_output("sudo docker node ls --quiet").split()) == 2


def boot(pair: Pair, spark: str) -> str:
    """The kernel's name for a Spark's boot; empty where it does not answer."""
    try:
        return pair.host(spark).run("cat /proc/sys/kernel/random/boot_id").stdout.strip()
    except RuntimeError:  # ssh does not get there
        return ""


def is_done_booting(pair: Pair, *sparks: str) -> bool:
    """Whether Sparks have started all that they start at boot."""
    try:
        said = {pair.host(spark).run("systemctl is-system-running").stdout.strip() for spark in sparks}
    except RuntimeError:
        return False
    return said <= {"running", "degraded"}


def stays_stopped(pair: Pair) -> None:
    """So long that a unit, or a Swarm, would have started something."""
    eventually(lambda: is_done_booting(pair, *SPARKS) and is_up(pair, *SPARKS), True, seconds=180)
    time.sleep(20)
    is_stopped(pair)


@pytest.fixture
def stopped(serving: Pair) -> Iterator[Pair]:
    """A pair that stop.yml has stopped; it serves again in the end."""
    good(serving.play("stop.yml", spark_drain_seconds=5))
    yield serving
    good(serving.play("start.yml"))


@contextmanager
def stream(pair: Pair, tokens: int) -> Iterator[None]:
    """A request on the leader whose answer takes 0.3 s a token, and is under way; they are fast again in the end."""
    leader = pair.host("spark1")
    try:
        _ask(pair, tokens)
        yield
    finally:
        leader.run(inside(f"rm -rf {INJECTED}"))  # systemd starts the same container again


def _ask(pair: Pair, tokens: int) -> None:
    leader = pair.host("spark1")
    leader.check_output(inside(f"mkdir -p {INJECTED} && echo 0.3 > {INJECTED}/slow-tokens"))
    body = {"model": "x", "stream": True, "max_tokens": tokens, "ignore_eos": True}
    body["messages"] = [{"role": "user", "content": "x"}]
    ask = f"curl --silent --no-buffer --json '{json.dumps(body)}' http://127.0.0.1:8355/v1/chat/completions"
    leader.check_output(f"({ask} > /tmp/stream; echo $? > /tmp/stream.status) </dev/null >/dev/null 2>&1 &")
    eventually(lambda: leader.check_output("cat /tmp/stream").count("data: ") > 3, True, seconds=30)


def streamed(pair: Pair) -> str:
    return pair.host("spark1").check_output("cat /tmp/stream")


def test_a_stop_waits_for_a_stream_and_a_second_one_changes_nothing(
    serving: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = serves(serving)
    dry = good(serving.play("stop.yml", check=True))
    assert dry.planned() == everywhere(serving, STOP)
    assert incarnations(serving) == ranks
    with stream(serving, 4000), monkeypatch.context() as patched:  # 20 min, unless what makes them slow goes
        faster = f'docker exec {serving.name}-spark1 sh -c "{inside(f"rm -rf {INJECTED}")}"'.replace("$", "\\$")
        at_task(patched, "end | Wait for the end of the requests that run", f"(sleep 20; {faster}) >/dev/null 2>&1 &")
        run = good(serving.play("stop.yml", spark_drain_seconds=900))
    assert run.made() == everywhere(serving, STOP)
    assert streamed(serving).rstrip().endswith("data: [DONE]")
    told = run.results("Report what was stopped")["spark1"]["msg"]
    assert told["requests_cut"] == 0
    assert 0 < told["waited_seconds"] < 900
    assert "spark1: 1 request is waited for" in run.words
    is_stopped(serving)

    again = good(serving.play("stop.yml"))
    assert again.changed == {}, again.made()
    assert "was stopped before, and stays so" in again.words

    about, _run = status(serving, tmp_path)
    assert kinds(about) & {"stopped"}
    assert [one for one in about["anomalies"] if one["class"] != "note"] == []
    (one,) = (one for one in about["anomalies"] if one["kind"] == "stopped")
    assert one["cause"] == "stopped by stop.yml"
    found = serving.play("doctor.yml", doctor_offline=True, doctor_reach=[], doctor_fail_at="never")
    seen = {each["check"] for each in found.results("Show what was found")["localhost"]["findings"]}
    assert {each for each in seen if each.startswith("serving_")} == {"serving_kept_stopped"}

    for playbook, action in (("start.yml", START), ("two_spark.yml", START)):
        dry = serving.serve(playbook, check=True)
        assert good(dry).planned() == everywhere(serving, action), playbook


def test_what_was_stopped_is_started_once(serving: Pair) -> None:
    good(serving.play("stop.yml", spark_drain_seconds=5))
    run = good(serving.play("start.yml"))
    assert run.made() == everywhere(serving, START)
    assert len(incarnations(serving)) == 2
    ranks = run.results("Report what serves")["spark1"]["msg"]["rdma"]
    assert {one["transport"] for one in ranks.values()} == {"IB"}
    for playbook in ("start.yml", "two_spark.yml"):
        again = good(serving.serve(playbook))
        assert again.changed == {}, (playbook, again.made())


def test_a_converging_play_starts_what_was_stopped(stopped: Pair) -> None:
    run = good(stopped.serve())
    assert run.made() == everywhere(stopped, START)
    assert len(incarnations(stopped)) == 2


def test_a_restart_cuts_what_is_longer_than_the_limit(serving: Pair) -> None:
    ranks = serves(serving)
    dry = good(serving.play("restart.yml", check=True))
    assert {host: STOP in names for host, names in dry.planned().items()} == dict.fromkeys(SPARKS, True)
    assert START in dry.planned()["spark1"]
    assert incarnations(serving) == ranks
    with stream(serving, 4000):  # 20 min
        run = good(serving.play("restart.yml", spark_drain_seconds=3))
    told = run.results("Report what serves")["spark1"]["msg"]
    assert told["requests_cut"] == 1
    assert "[DONE]" not in streamed(serving)
    assert len(incarnations(serving) - ranks) == 2
    assert one_engine(serving)


def test_a_restart_starts_what_gave_up(serving: Pair) -> None:
    """A file of the model that is gone from one Spark fails every start."""
    good(serving.serve(engine_serve_max_starts=2))
    worker, blobs = serving.host("spark2"), "~/.cache/huggingface/hub/models--lab--tiny-chat/blobs"
    blob = worker.check_output(f"ls -S {blobs}/* | head -1")
    try:
        worker.check_output(f"mv {blob} {blob}.away && sudo pkill -KILL -f [m]gmn_worker_node")
        eventually(lambda: state(serving)["phase"], "gave up", seconds=240)
    finally:
        worker.check_output(f"mv {blob}.away {blob}")
    run = good(serving.play("restart.yml", spark_drain_seconds=0))
    assert run.results("Report what serves")["spark1"]["msg"]["answer"]
    good(serving.serve())  # with the limits of the other tests


def test_a_leader_stops_alone_where_its_worker_does_not_answer(serving: Pair) -> None:
    ranks = serves(serving)
    subprocess.run(["docker", "pause", f"{serving.name}-spark2"], check=True, stdout=subprocess.DEVNULL)
    try:
        run = good(serving.play("stop.yml", local_only=True, spark_drain_seconds=0))
        assert run.made() == {"spark1": {STOP}}
        assert containers(serving, "spark1") == []
        again = good(serving.play("stop.yml", local_only=True))
        assert again.changed == {}, again.made()
    finally:
        subprocess.run(["docker", "unpause", f"{serving.name}-spark2"], check=True, stdout=subprocess.DEVNULL)
    eventually(lambda: serving.host("spark2").run("pgrep -f [m]gmn_worker_node").succeeded, False, seconds=120)
    eventually(lambda: len(containers(serving, "spark2")), 1, seconds=60)  # it waits on
    run = good(serving.play("start.yml"))
    assert run.made() == {"spark1": {START}}
    assert len(incarnations(serving) - ranks) == 2


@pytest.mark.parametrize("sparks", [SPARKS, SPARKS[:1], SPARKS[1:]], ids=["both", "the leader", "the worker"])
def test_what_was_stopped_stays_so_over_a_reboot(stopped: Pair, sparks: tuple[str, ...]) -> None:
    before = {spark: boot(stopped, spark) for spark in sparks}
    reboot(stopped, *sparks)
    eventually(lambda: [spark for spark in sparks if boot(stopped, spark) in ("", before[spark])], [], seconds=180)
    stays_stopped(stopped)


def test_what_was_stopped_stays_so_over_a_restart_of_docker(stopped: Pair) -> None:
    """systemd knows since the last boot that Docker brings the unit along, and was not told that it is disabled."""
    for spark in SPARKS:
        stopped.host(spark).check_output("sudo systemctl restart docker")
    stays_stopped(stopped)


def power(pair: Pair, word: str, *sparks: str) -> None:
    """Without a word to the system: ``kill`` is the plug, ``start`` the button."""
    subprocess.run(
        ["docker", word, *[f"{pair.name}-{spark}" for spark in sparks]], check=True, stdout=subprocess.DEVNULL
    )


ORDERS = {
    "the leader first": [("spark1",), ("spark2",)],
    "the worker first": [("spark2",), ("spark1",)],
    "both": [SPARKS],
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_the_endpoint_is_up_by_itself_when_the_power_is_back(serving: Pair, order: list[tuple[str, ...]]) -> None:
    ranks = serves(serving)
    power(serving, "kill", *SPARKS)
    for number, sparks in enumerate(order):
        if number:
            time.sleep(25)
        power(serving, "start", *sparks)
    back(serving, ranks, 300)


def test_a_leader_alone_says_whom_it_waits_for(serving: Pair, tmp_path: Path) -> None:
    ranks = serves(serving)
    power(serving, "kill", *SPARKS)
    power(serving, "start", "spark1")
    try:
        eventually(lambda: is_up(serving, "spark1"), True, seconds=120)

        def waits() -> bool:
            said = state(serving)
            return said["phase"] == "waiting" and "spark2" in said["reason"]

        eventually(waits, True, seconds=120)
        about, _run = status(serving, tmp_path)
        (one,) = (one for one in about["anomalies"] if one["kind"] == "waiting")
        assert "spark2" in one["cause"]
        assert "host_unreachable" in kinds(about)
    finally:
        power(serving, "start", "spark2")
    back(serving, ranks, 300)


def test_a_worker_alone_says_whom_it_waits_for(serving: Pair) -> None:
    ranks = serves(serving)
    power(serving, "kill", *SPARKS)
    power(serving, "start", "spark2")
    try:
        eventually(lambda: is_up(serving, "spark2"), True, seconds=120)

        def waits() -> bool:
            said: dict[str, Any] = json.loads(serving.host("spark2").check_output(f"sudo cat {STATE}"))
            return said["phase"] in ("waiting", "listening") and "spark1" in said["reason"]

        eventually(waits, True, seconds=120)
    finally:
        power(serving, "start", "spark1")
    back(serving, ranks, 300)


def test_an_undo_of_what_is_stopped_leaves_nothing(serving: Pair) -> None:
    good(serving.play("stop.yml", spark_drain_seconds=0))
    good(serving.serve("undo.yml", spark_undo_packages=True))
    for spark in SPARKS:
        host = serving.host(spark)
        assert host.check_output("sudo docker ps --all --quiet --filter name=dgx-spark-trtllm") == ""
        assert host.check_output("sudo docker image ls --quiet --filter label=dgx-spark=trtllm-serve") == ""
        for path in ("/etc/dgx-spark", "/var/lib/dgx-spark", f"/etc/systemd/system/{UNIT}.service"):
            assert not host.file(path).exists, path
        assert host.check_output("sudo docker info --format '{{.Swarm.LocalNodeState}}'") == "inactive"
    again = good(serving.serve("undo.yml", spark_undo_packages=True))
    assert again.changed == {}, again.made()
