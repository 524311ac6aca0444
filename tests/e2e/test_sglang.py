# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for SGLang on two virtual Sparks, on one and on three: served, looked at, broken and undone.

What is real of it, and what its source alone says, is listed in lab/README.md.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from dataclasses import dataclass
from typing import Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import image_parser
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.sglang_cli import FLAGS, VERSION

from .conftest import SPARKS, Run, eventually, taken_down
from .every_node_support import CABLE, PATIENCE, EveryNode, kill, stocked
from .pace import Clock
from .sglang_support import DETOKENIZER, MAIN, RANK, STAND_IN
from .state import Allowed, State, captured, differences, unused
from .test_undo import MODEL_STAYS, STAYS

pytestmark = pytest.mark.matrix
START_S = 120  # seconds of an idle machine, in which a start takes 20


@pytest.fixture(scope="module")
def sparks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EveryNode]:
    """Two Sparks that nothing has touched."""
    one = stocked(tmp_path_factory.mktemp("sglang"), STAND_IN)
    one.options.update(PATIENCE)
    yield one
    taken_down(one)


@pytest.fixture(scope="module")
def blank(sparks: EveryNode) -> State:
    """What they were before the first run."""
    return captured(sparks)


@pytest.fixture(scope="module")
def first(sparks: EveryNode, blank: State) -> Run:
    """The first run, by a Swarm."""
    run = sparks.serve()
    assert run.status == "successful", run.said
    return run


def test_two_sparks_answer_with_ranks_that_talk_by_rdma(sparks: EveryNode, first: Run) -> None:
    report = first.registered("sglang_serve_report")["spark1"]
    assert (report["model"], report["version"], report["kv_tokens"]) == (sparks.model, VERSION, 65536)
    assert {rank["transport"] for rank in report["ranks"].values()} == {"IB"}
    assert sparks.whole()
    code, said = sparks.chat(tokens=16, ignore_eos=True)
    assert (code, said["usage"]["completion_tokens"]) == (200, 16)
    assert [rank["host"] for rank in said["virtual_spark"]["ranks"]] == list(SPARKS)
    for name in SPARKS:
        used = sparks.host(name).check_output("sudo ss --tcp --numeric --processes --no-header state established")
        mine = [line.split()[2:4] for line in used.splitlines() if "sglang::sche" in line or "python3" in line]
        assert mine
        assert not [one for one in mine if "10.203." in " ".join(one)], "a rank talks over the management network"
    for rank, name in enumerate(SPARKS):
        command = sparks.host(name).check_output("pgrep --full --list-full %s", MAIN)
        assert f"--nnodes 2 --dist-init-addr 192.168.100.10:25000 --node-rank {rank}" in command
        assert "--host 127.0.0.1 --port 8355" in command


def test_the_image_has_said_its_flags_and_they_are_those_of_the_table(sparks: EveryNode, first: Run) -> None:
    note = json.loads(sparks.host("spark1").check_output("sudo sh -c 'cat /var/lib/dgx-spark/sglang/image-*.json'"))
    assert (note["facts"]["no_flags_because"], note["facts"]["version"]) == ("", VERSION)
    assert image_parser.told(note["facts"]["flags"]) == FLAGS


def test_a_second_run_changes_nothing_and_a_dry_one_says_so(sparks: EveryNode, first: Run) -> None:
    pids = sparks.pids()
    again = sparks.serve()
    assert (again.status, again.changed) == ("successful", {}), again.made()
    dry = sparks.serve(check=True)
    assert (dry.status, dry.changed, dry.planned()) == ("successful", {}, {}), dry.said
    assert sparks.pids() == pids
    assert sparks.serve("verify.yml").status == "successful"


def test_a_flag_that_the_image_does_not_have_is_refused_before_anything_changes(sparks: EveryNode, first: Run) -> None:
    pids = sparks.pids()
    run = sparks.serve(sglang_serve_arguments={"tp_size": 2, "context_lenght": 4096})
    assert (run.status, run.changed) == ("failed", {}), run.made()
    said = (
        "context_lenght is no flag of the image's sglang.launch_server, as it says itself; did you mean context_length?"
    )
    assert said in run.words
    assert sparks.pids() == pids


def test_the_others_images_are_refused_by_their_names(sparks: EveryNode, first: Run) -> None:
    for engine, image in (("trtllm", sparks.options["spark_image"]), ("sglang", "vllm/vllm-openai:v0.28.0")):
        run = sparks.serve(spark_engine=engine, spark_image=image)
        assert (run.status, run.changed) == ("failed", {}), run.made()
        assert f"is to serve: set {engine}_serve_base_image or spark_image" in run.words


@dataclass(frozen=True)
class Fault:
    """``command`` runs on ``spark``, or on the lab's machine where that is empty, and ``mend`` once it has told."""

    spark: str
    command: str
    mend: str = ""


CONTAINER = "$(sudo docker ps --quiet --filter name=dgx-spark-sglang)"
FAULTS = {
    "the head's server killed": Fault("spark1", kill(MAIN)),
    "the head's rank killed": Fault("spark1", kill(RANK)),
    "the head's detokenizer killed": Fault("spark1", kill(DETOKENIZER)),
    "the other node's server killed": Fault("spark2", kill(MAIN)),
    "the other node's rank killed": Fault("spark2", kill(RANK)),
    "the other node's container killed": Fault("spark2", f"sudo docker kill --signal KILL {CONTAINER}"),
    "the head's container killed": Fault("spark1", f"sudo docker kill --signal KILL {CONTAINER}"),
    "the other node rebooted": Fault("spark2", "sudo systemctl reboot; true"),
    "the other node's rank stopped": Fault("spark2", kill(RANK, "STOP")),
    "the head's rank stopped": Fault("spark1", kill(RANK, "STOP")),
    "the cable out for good": Fault("", f"{CABLE} -e virtual_spark_cable_plugged=false", CABLE),
}


def run(sparks: EveryNode, spark: str, command: str) -> None:
    if spark:
        sparks.host(spark).run(command)  # a reboot ends the connection
    else:
        words = shlex.split(command.format(lab=sparks.name, home=sparks.home))
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module", params=["swarm", "docker"])
def serving(request: pytest.FixtureRequest, sparks: EveryNode, first: Run) -> EveryNode:
    """They serve, started by either."""
    sparks.options["spark_launcher"] = request.param
    done = sparks.serve()
    assert done.status == "successful", done.said
    return sparks


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_engine_ends_everywhere_and_comes_back_by_itself(serving: EveryNode, fault: Fault) -> None:
    """And no token of the old engine is noted after the fault: what ends in an error was not served."""
    before, began = serving.serves(START_S), serving.told()["began"]
    run(serving, fault.spark, fault.command)
    at, noted, clock = time.time(), [0.0], Clock()

    def ended() -> bool:
        try:
            said = serving.told()
        except (RuntimeError, AssertionError):  # ssh does not get there
            return False
        if said.get("began") == began and said.get("phase") == "serving":
            noted.append(said.get("canary_at", 0))
        return said.get("began", began) != began

    took = eventually(ended, True, seconds=120, clock=clock)
    assert max(noted) < at + 1, "a token was noted that nobody can have made"
    if fault.mend:
        run(serving, fault.spark, fault.mend)
    print(f"ended within {took}, back after {serving.back(before, START_S)}")


def test_a_cable_out_for_a_moment_costs_a_moment(serving: EveryNode) -> None:
    """Both ends keep their connections, and the engine goes on: it is not started again for that."""
    before = serving.serves(START_S)
    serving.cabled(False)
    time.sleep(5)
    serving.cabled(True)
    eventually(lambda: serving.chat()[0], 200, seconds=60)
    assert serving.pids() == before
    assert serving.told()["phase"] == "serving"


def test_a_stream_that_a_fault_ends_does_not_look_finished(serving: EveryNode) -> None:
    before, leader = serving.serves(START_S), serving.host("spark1")
    faults = "/run/virtual-spark-engine/faults"
    leader.check_output(f"sudo docker exec {CONTAINER} sh -c 'mkdir -p {faults} && echo 0.2 > {faults}/slow-tokens'")
    body = {"model": serving.model, "stream": True, "max_tokens": 1500, "ignore_eos": True}
    body["messages"] = [{"role": "user", "content": "x"}]
    ask = f"curl --silent --no-buffer --json '{json.dumps(body)}' http://127.0.0.1:8355/v1/chat/completions"
    leader.check_output(f"({ask} > /tmp/stream) </dev/null >/dev/null 2>&1 &")
    eventually(lambda: leader.check_output("cat /tmp/stream").count("data: ") > 5, True, seconds=60)
    serving.host("spark2").check_output(kill(RANK))
    print(f"back after {serving.back(before, START_S)}")
    pieces = [line[6:] for line in leader.check_output("cat /tmp/stream").splitlines() if line.startswith("data: ")]
    assert "[DONE]" not in pieces
    whole = [json.loads(piece) for piece in pieces if piece.startswith("{")]
    assert {choice.get("finish_reason") for piece in whole for choice in piece.get("choices", [])} == {None}


def test_a_stop_lets_the_request_end_that_runs(serving: EveryNode) -> None:
    """The head alone is asked, and drains; the ranks of the others end by its word."""
    before, leader = serving.serves(START_S), serving.host("spark1")
    faults = "/run/virtual-spark-engine/faults"
    leader.check_output(f"sudo docker exec {CONTAINER} sh -c 'mkdir -p {faults} && echo 0.2 > {faults}/slow-tokens'")
    body = {"model": serving.model, "max_tokens": 40, "ignore_eos": True}
    body["messages"] = [{"role": "user", "content": "x"}]
    ask = f"curl --silent --json '{json.dumps(body)}' http://127.0.0.1:8355/v1/chat/completions"
    leader.check_output(f"({ask} > /tmp/answer) </dev/null >/dev/null 2>&1 &")
    time.sleep(2)
    leader.check_output(f"sudo docker stop --time 60 {CONTAINER}")
    assert json.loads(leader.check_output("cat /tmp/answer"))["usage"]["completion_tokens"] == 40
    eventually(lambda: serving.processes()["spark2"][RANK], set(), seconds=20)
    if leader.run("systemctl is-enabled dgx-spark-sglang").succeeded:
        leader.check_output("sudo systemctl start dgx-spark-sglang")
    print(f"back after {serving.back(before, START_S)}")


def test_wrong_arguments_are_not_tried_again_and_what_served_comes_back(serving: EveryNode) -> None:
    """Such as a program refuses that has read the model."""
    before = serving.serves(START_S)
    done = serving.serve(
        sglang_serve_arguments={"tp_size": 2, "served_model_name": "x"},
        sglang_serve_environment={"VIRTUAL_SPARK_ENGINE_LOAD_SECONDS": "soon"},
        engine_serve_max_starts=1,
    )
    assert done.status == "failed"
    assert "could not convert string to float: 'soon'" in done.words
    assert f"{serving.model} serves again on spark1, spark2, as before" in done.words
    print(f"back after {serving.back(before, START_S)}")


#: what this engine's image is called
IMAGE_STAYS = (Allowed("docker", r"image nvcr\.test/.*", STAYS[0].reason),)


def test_undo_leaves_nothing(sparks: EveryNode, blank: State, first: Run) -> None:
    done = sparks.serve("undo.yml", spark_undo_packages=True)
    assert done.status == "successful", done.said
    after = captured(sparks)
    assert differences(blank, after, IMAGE_STAYS, MODEL_STAYS) == []
    assert unused(blank, after, [*IMAGE_STAYS, *MODEL_STAYS]) == []
    assert sparks.pids() == set()


def test_one_spark_of_the_two_serves_alone(sparks: EveryNode, blank: State) -> None:
    """Started by systemd, without a rank beside it."""
    sparks.play("undo.yml", **sparks.options)
    alone = sparks.hosts("spark1")
    options = {**sparks.options, "spark_launcher": "docker"}
    done = sparks.play("single_spark.yml", inventory=alone, **options)
    assert done.status == "successful", done.said
    assert sparks.chat()[0] == 200
    again = sparks.play("single_spark.yml", inventory=alone, **options)
    assert (again.status, again.changed) == ("successful", {}), again.made()
    before = sparks.pids()
    sparks.host("spark1").check_output(kill(RANK))
    eventually(lambda: before & sparks.pids(), set(), seconds=60)
    eventually(lambda: sparks.chat()[0], 200, seconds=START_S)
    done = sparks.play("undo.yml", inventory=alone, **options, spark_undo_packages=True)
    assert done.status == "successful", done.said


@pytest.fixture
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EveryNode]:
    """A ring of three."""
    one = stocked(tmp_path_factory.mktemp("three"), STAND_IN, virtual_spark_count=3)
    yield one
    taken_down(one)


def test_three_sparks_have_a_third_of_the_layers_each(three: EveryNode) -> None:
    done = three.serve()
    assert done.status == "successful", done.said
    code, said = three.chat()
    assert (code, len(said["virtual_spark"]["ranks"])) == (200, 3)
    assert "--pp-size 3" in three.host("spark3").check_output("pgrep --full --list-full %s", MAIN)
    again = three.serve()
    assert (again.status, again.changed) == ("successful", {}), again.made()
    before = three.pids()
    three.host("spark3").check_output(kill(RANK))
    print(f"back after {three.back(before, START_S)}")
