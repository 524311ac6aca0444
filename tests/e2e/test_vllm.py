# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vLLM on two virtual Sparks and on one: served, looked at, broken and undone.

The real one, built for processors, and a stand-in for it, on which all of this takes minutes: what both do is what the
stand-in may stand for.

What gloo cannot show of NCCL is listed in lab/README.md. A start of the real one takes a minute and a half, so that all
of this is of the matrix.
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
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.vllm_cli import FLAGS, VERSION

from .conftest import SPARKS, Run, eventually, taken_down
from .every_node_support import CABLE, PATIENCE, EveryNode, kill, stocked
from .pace import Clock
from .state import Allowed, State, captured, differences, unused
from .test_undo import MODEL_STAYS, STAYS
from .vllm_support import CORE, MAIN, RANK, REAL, STAND_IN

pytestmark = pytest.mark.matrix
CONTAINER = "$(sudo docker ps --quiet --filter name=dgx-spark-vllm)"
START_S = 300  # seconds of an idle machine, in which a start takes 90


@pytest.fixture(scope="module", params=[STAND_IN, REAL], ids=["stand-in", "real"])
def sparks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EveryNode]:
    """Two Sparks that nothing has touched."""
    one = stocked(tmp_path_factory.mktemp("vllm"), request.param)
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


def sent(spark: EveryNode) -> int:
    """Bytes that the leader has sent over the fabric."""
    netdevs = "cat /sys/class/net/e*p1s0f0np0/statistics/tx_bytes /sys/class/net/e*P2p1s0f0np0/statistics/tx_bytes"
    return sum(map(int, spark.host("spark1").run(netdevs).stdout.split()))


def test_two_sparks_answer_with_ranks_that_talk_over_the_fabric(sparks: EveryNode, first: Run) -> None:
    report = first.registered("vllm_serve_report")["spark1"]
    assert (report["model"], report["version"]) == (sparks.model, VERSION)
    assert report["kv_tokens"] > 1000
    assert sparks.whole()
    before = sent(sparks)
    code, said = sparks.chat(tokens=64, ignore_eos=True)
    assert (code, said["usage"]["completion_tokens"]) == (200, 64)
    assert said["choices"][0]["finish_reason"] == "length"
    # Each token is 8 sums of 512 bytes over two ranks, beside the sampler's: a leader alone sends nothing.
    assert sent(sparks) - before > 64 * 8 * 512
    for name in SPARKS:
        command = sparks.host(name).check_output("pgrep --full --list-full %s", MAIN)
        assert ("--headless" in command) == (name == "spark2")
        assert "--tensor-parallel-size 2" in command
        assert "--nnodes 2" in command


def test_the_image_has_said_its_flags_and_they_are_those_of_the_table(sparks: EveryNode, first: Run) -> None:
    note = json.loads(sparks.host("spark1").check_output("sudo sh -c 'cat /var/lib/dgx-spark/vllm/image-*.json'"))
    assert note["facts"]["no_flags_because"] == ""
    assert note["facts"]["version"].startswith(VERSION)
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
    wrong = {**sparks.options["vllm_serve_arguments"], "max_modellen": 5}
    run = sparks.serve(vllm_serve_arguments=wrong)
    assert (run.status, run.changed) == ("failed", {}), run.made()
    said = "max_modellen is no flag of the image's vllm serve, as it says itself; did you mean max_model_len?"
    assert said in run.words
    assert sparks.pids() == pids


def test_a_name_that_it_does_not_know_is_refused_and_an_alias_is_known(sparks: EveryNode, first: Run) -> None:
    assert sparks.chat("stable")[0] == 404
    run = sparks.serve(spark_model_alias="stable")
    assert run.status == "successful", run.said
    assert [sparks.chat(name)[0] for name in (sparks.model, "stable", "another")] == [200, 200, 404]


@dataclass(frozen=True)
class Fault:
    """``command`` runs on ``spark``, or on the lab's machine where that is empty, and ``mend`` once it has told."""

    spark: str
    command: str
    mend: str = ""


FAULTS = {
    "the head's server killed": Fault("spark1", kill(MAIN)),
    "the head's engine core killed": Fault("spark1", kill(CORE)),
    "the head's worker killed": Fault("spark1", kill(RANK)),
    "the other node's server killed": Fault("spark2", kill(MAIN)),
    "the other node's worker killed": Fault("spark2", kill(RANK)),
    "the other node's container killed": Fault("spark2", f"sudo docker kill --signal KILL {CONTAINER}"),
    "the head's container killed": Fault("spark1", f"sudo docker kill --signal KILL {CONTAINER}"),
    "the other node rebooted": Fault("spark2", "sudo systemctl reboot; true"),
    "the head rebooted": Fault("spark1", "sudo systemctl reboot; true"),
    "the other node's worker stopped": Fault("spark2", kill(RANK, "STOP")),
    "the head's worker stopped": Fault("spark1", kill(RANK, "STOP")),
    "the head's engine core stopped": Fault("spark1", kill(CORE, "STOP")),
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

    took = eventually(ended, True, seconds=180, clock=clock)
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
    time.sleep(20)
    assert serving.pids() == before
    assert serving.told()["phase"] == "serving"


def test_a_stream_that_a_fault_ends_has_no_good_end(serving: EveryNode) -> None:
    """vLLM writes [DONE] behind an error event, which is no success."""
    before, leader = serving.serves(START_S), serving.host("spark1")
    body = {"model": serving.model, "stream": True, "max_tokens": 1500, "ignore_eos": True}
    body["messages"] = [{"role": "user", "content": "x"}]
    ask = f"curl --silent --no-buffer --json '{json.dumps(body)}' http://127.0.0.1:8355/v1/chat/completions"
    leader.check_output(f"({ask} > /tmp/stream) </dev/null >/dev/null 2>&1 &")
    eventually(lambda: leader.check_output("cat /tmp/stream").count("data: ") > 5, True, seconds=60)
    serving.host("spark2").check_output(kill(RANK))
    print(f"back after {serving.back(before, START_S)}")
    pieces = [line[6:] for line in leader.check_output("cat /tmp/stream").splitlines() if line.startswith("data: ")]
    whole = [json.loads(piece) for piece in pieces if piece.startswith("{")]
    ends = {choice.get("finish_reason") for piece in whole for choice in piece.get("choices", [])}
    assert ends <= {None, "abort", "error"}, ends


def test_wrong_arguments_are_not_tried_again(serving: EveryNode) -> None:
    """Such as the table lets through, and vLLM refuses: what served comes back."""
    before = serving.serves(START_S)
    wrong = {**serving.options["vllm_serve_arguments"], "max_model_len": 1_000_000}
    done = serving.serve(vllm_serve_arguments=wrong, engine_serve_max_starts=1)
    assert done.status == "failed"
    assert "max_model_len" in done.words
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
    sparks.host("spark1").check_output(kill(CORE))
    eventually(lambda: before & sparks.pids(), set(), seconds=60)
    eventually(lambda: sparks.chat()[0], 200, seconds=START_S)
    done = sparks.play("undo.yml", inventory=alone, **options, spark_undo_packages=True)
    assert done.status == "successful", done.said
