# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a pair of virtual Sparks that serves: changes, kills, and what goes missing on one of them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from .conftest import SERVED, SPARKS, Pair, Run, at_task, eventually, started

pytestmark = pytest.mark.matrix
WORKER = "$(sudo docker ps --quiet --filter name=dgx-spark-trtllm_worker)"
#: how a word gets into the leader's container, and where its engine's faults are put
INSIDE = "sudo docker exec $(sudo docker ps --quiet --filter name=dgx-spark-trtllm) sh -c %s"
INJECTED = "/run/virtual-spark-engine/faults"


def incarnations(pair: Pair) -> set[str]:
    """The random names that the ranks of the running engine gave themselves; empty where none answers."""
    return {rank["incarnation"] for rank in pair.asked().get("virtual_spark", {}).get("ranks", [])}


def state(pair: Pair) -> dict[str, Any]:
    return json.loads(pair.host("spark1").check_output("sudo cat /var/lib/dgx-spark/trtllm/state.json"))


def test_a_changed_option_is_rolled_out_and_a_stranger_keeps_running(
    pair: Pair, first: tuple[Run, int], stranger: str
) -> None:
    before = started(pair, stranger)
    run = pair.serve(trtllm_serve_arguments={"tp_size": 2, "max_batch_size": 2, "max_num_tokens": 4096})
    assert run.status == "successful", run.said
    assert set(run.changed) == set(SPARKS)
    commands = pair.host("spark1").check_output("ps -eo args")
    assert "--max_batch_size 2" in commands
    assert "--max_batch_size 4" not in commands
    assert started(pair, stranger) == before


def test_a_killed_worker_comes_back_by_itself(pair: Pair, first: tuple[Run, int]) -> None:
    before = incarnations(pair)
    assert len(before) == 2
    pair.host("spark2").check_output(f"sudo docker kill --signal KILL {WORKER}")
    eventually(lambda: len(incarnations(pair) - before), 2, seconds=150)


def test_rdma_that_one_spark_lacks_stops_the_play_before_it_serves(pair: Pair, first: tuple[Run, int]) -> None:
    spark = pair.host("spark2")
    spark.check_output("sudo mv /dev/infiniband /dev/infiniband.away")
    try:
        run = pair.serve()
    finally:
        spark.check_output("sudo mv /dev/infiniband.away /dev/infiniband")
    assert run.status == "failed"
    said = run.words
    assert "cx7_network : ping | Check every planned link" in said
    assert "spark2" in said
    assert "/dev/infiniband is not there" in said


#: at which task, what is done to one Spark and undone there, and what the play says of its rank
TAKEN = {
    "device": (
        "spark2",
        "mv /dev/infiniband /dev/infiniband.away",
        "mv /dev/infiniband.away /dev/infiniband",
        ["waiting: spark2: in its container /dev/infiniband is not there", "rocep1s0f0 needs uverbs0"],
    ),
    "HCA": (
        "spark2",
        "sed -i -e s/rocep1s0f0/mlx5_0/ -e s/roceP2p1s0f0/mlx5_1/ /etc/dgx-spark/trtllm/node.json",
        "",
        ["waiting: spark2: there is no RoCE device mlx5_", "plug its QSFP cable in"],
    ),
    "memlock": (
        "spark1",  # the stack's second memlock is the worker's
        "sed -i '0,/memlock/!s/memlock: -1/memlock: 32768/' /etc/dgx-spark/trtllm/stack.yml",
        "",
        ["rank 1 on spark2 is without RDMA: it may lock 32768 bytes of memory"],
    ),
}


@pytest.mark.parametrize("about", TAKEN.values(), ids=TAKEN)
def test_rdma_that_one_rank_lacks_fails_the_play_and_names_it(
    pair: Pair, first: tuple[Run, int], monkeypatch: pytest.MonkeyPatch, about: tuple[str, str, str, list[str]]
) -> None:
    """Taken when all proofs but the last are done, and the containers start anew."""
    spark, take, give, says = about
    assert pair.serve().status == "successful"
    at_task(monkeypatch, "swarm | Deploy the stack", f"docker exec {pair.name}-{spark} {take}")
    options = {
        "trtllm_serve_arguments": {"tp_size": 2, "max_batch_size": 3},
        "engine_serve_max_starts": 2,
        "engine_serve_load_timeout": 90,  # what a play waits for a worker that waits itself
    }
    try:
        run = pair.serve(**options)
        assert run.status == "failed"
        said = run.words
        for words in says:
            assert words in said
        assert "rank 0 on" not in said.partition("What the ranks wrote last")[0]
        assert "spark1 is without RDMA" not in said
    finally:
        if give:
            pair.host(spark).check_output(f"sudo {give}")  # the container is made anew by itself
    monkeypatch.delenv("ANSIBLE_CALLBACKS_ENABLED")
    mended = pair.serve(**options)
    assert mended.status == "successful", mended.said
    assert state(pair)["ranks"]["spark2"]["transport"] == "IB"


def test_a_stack_of_which_a_part_is_gone_is_made_whole(pair: Pair, first: tuple[Run, int]) -> None:
    """As after a play that was ended while it deployed."""
    assert pair.serve().status == "successful"
    ranks = incarnations(pair)
    pair.host("spark1").check_output("sudo docker service rm dgx-spark-trtllm_worker")
    eventually(lambda: state(pair)["phase"], "waiting", seconds=120)
    run = pair.serve()
    assert run.status == "successful", run.said
    assert len(incarnations(pair) - ranks) == 2


@pytest.mark.parametrize("launcher", ["swarm", "docker"])
def test_keys_that_are_gone_are_made_again(pair: Pair, first: tuple[Run, int], launcher: str) -> None:
    assert pair.serve(spark_launcher=launcher).status == "successful"
    ranks = incarnations(pair)
    for name in SPARKS:
        pair.host(name).check_output("sudo rm -r /etc/dgx-spark/trtllm/ssh")
    run = pair.serve(spark_launcher=launcher)
    assert run.status == "successful", run.said
    assert len(incarnations(pair) - ranks) == 2


def test_a_file_missing_on_the_worker_is_named_by_the_proof_and_mended_by_the_play(
    pair: Pair, first: tuple[Run, int]
) -> None:
    assert pair.serve().status == "successful"
    spark, blob = pair.host("spark2"), "$(ls -S ~/.cache/huggingface/hub/models--lab--tiny-chat/blobs/* | head -1)"
    spark.check_output(f"rm {blob}")
    role = {"name": "sparkops.dgx_spark.hf_cache"}
    tasks = [
        {"name": f"Run {one}", "ansible.builtin.include_role": {**role, "tasks_from": one}}
        for one in ("plan", "verify")
    ]
    proof = pair.play([{"hosts": "spark", "gather_facts": False, "tasks": tasks}], **SERVED)
    assert proof.status == "failed"
    said = proof.words
    assert "spark2" in said
    assert "is missing" in said

    before, ranks = pair.hub_bytes(), incarnations(pair)
    run = pair.serve()
    assert run.status == "successful", run.said
    assert run.results("bring | Download or copy the model")["spark2"]["moved_bytes"] > 0
    assert pair.hub_bytes() == before, "the leader has the file"
    assert incarnations(pair) == ranks, "the engine ran on"


#: a virtual Spark's memory is not its own: what the containers read of it is a file here, which they may write too
MEMINFO, MOUNTED = "/var/lib/dgx-spark/trtllm/meminfo", "/var/lib/dgx-spark/engine/meminfo"


def leave(pair: Pair, name: str, mib: int) -> None:
    """Leave so much of the 128 GB of a Spark."""
    lines = f"MemTotal: 125829120 kB\\nMemFree: {mib * 1024:9} kB\\nMemAvailable: {mib * 1024:9} kB\\n"
    pair.host(name).check_output(f"printf '{lines}' | sudo tee {MEMINFO}")


def left(pair: Pair, name: str) -> int:
    """MiB that are available there."""
    return int(pair.host(name).check_output(f"grep MemAvailable {MEMINFO}").split()[1]) // 1024


@pytest.fixture
def measured(pair: Pair, first: tuple[Run, int]) -> set[str]:
    """A pair whose memory is a file on each Spark, and the incarnations of its ranks."""
    for name in SPARKS:
        leave(pair, name, 100000)
    run = pair.serve(engine_serve_meminfo_path=MEMINFO, engine_serve_stall_minutes=1)
    assert run.status == "successful", run.said
    return incarnations(pair)


def test_a_node_that_runs_out_of_memory_is_saved_and_named(pair: Pair, measured: set[str]) -> None:
    leave(pair, "spark2", 1000)
    eventually(lambda: state(pair)["phase"] in ("failed", "waiting", "starting"), True, seconds=60)
    eventually(lambda: "spark2 has 1000 MiB available" in state(pair).get("last_end", ""), True, seconds=150)
    leave(pair, "spark2", 100000)
    eventually(lambda: len(incarnations(pair) - measured), 2, seconds=240)


def at_its_next_load(pair: Pair, fault: str, content: str) -> str:
    """Let spark2's rank meet a fault when it loads again, which it does now; returns how to undo it."""
    spark, path = pair.host("spark2"), f"{INJECTED}/{fault}"
    spark.check_output(f"sudo docker exec {WORKER} sh -c 'mkdir -p {INJECTED} && echo {content} > {path}'")
    spark.check_output("sudo pkill -KILL -f [m]gmn_worker_node")
    return f"sudo docker exec {WORKER} rm {path}"


def test_a_rank_that_takes_memory_by_the_gibibyte_is_ended_above_the_floor(pair: Pair, measured: set[str]) -> None:
    """7 GiB in half a second, as a Spark was seen to lose them."""
    mend = at_its_next_load(pair, "take-memory", f"{MOUNTED} 14336")
    try:
        eventually(lambda: "MiB a second: its rank is ended" in state(pair).get("last_end", ""), True, seconds=150)
        assert left(pair, "spark2") >= 16384
    finally:
        pair.host("spark2").check_output(mend)
        leave(pair, "spark2", 100000)
    eventually(lambda: len(incarnations(pair) - measured), 2, seconds=240)


def test_a_load_that_stands_still_is_ended_and_begun_anew(pair: Pair, measured: set[str]) -> None:
    mend = at_its_next_load(pair, "stand-still", "")
    try:
        eventually(lambda: "its load stood still: for 1 min" in state(pair).get("last_end", ""), True, seconds=240)
    finally:
        pair.host("spark2").check_output(mend)
    eventually(lambda: len(incarnations(pair) - measured), 2, seconds=240)


def test_a_kv_cache_that_takes_too_few_tokens_fails_the_play_with_the_mend(pair: Pair, first: tuple[Run, int]) -> None:
    run = pair.serve(trtllm_serve_min_kv_tokens=65537, engine_serve_max_starts=1)
    assert run.status == "failed"
    assert "65536 tokens fit into the KV cache, fewer than trtllm_serve_min_kv_tokens, which is 65537" in run.words
    assert "engine_serve_drop_caches: true" in run.words
    mended = pair.serve(trtllm_serve_min_kv_tokens=65536)
    assert mended.status == "successful", mended.said
    assert mended.registered("trtllm_serve_report")["spark1"]["kv_tokens"] == 65536
    assert state(pair)["kv_tokens"] == 65536


def left_alone_while_busy(pair: Pair, seconds: int) -> set[str]:
    """Sixteen requests of 100 s on four places: the canary waits in vain, and tokens flow. Return the ranks."""
    ranks, leader = incarnations(pair), pair.host("spark1")
    leader.check_output(INSIDE, f"mkdir -p {INJECTED} && echo 0.5 > {INJECTED}/slow-tokens")
    body = '{"model": "x", "max_tokens": 200, "ignore_eos": true, "messages": [{"role": "user", "content": "x"}]}'
    ask = f"curl --silent --max-time 420 --output /dev/null --json '{body}' http://127.0.0.1:8355/v1/chat/completions"
    leader.check_output(f"for i in $(seq 16); do ({ask}) </dev/null >/dev/null 2>&1 & done")
    eventually(lambda: state(pair)["reason"].startswith("busy: tokens flow"), True, seconds=30)
    for _ in range(seconds // 10):
        time.sleep(10)
        assert state(pair)["phase"] == "serving"
    leader.check_output(INSIDE, f"rm {INJECTED}/slow-tokens")
    eventually(lambda: incarnations(pair), ranks, seconds=60)
    return ranks


def test_a_busy_server_is_left_alone_and_a_wedged_one_is_not(pair: Pair, first: tuple[Run, int]) -> None:
    run = pair.serve(engine_serve_canary_timeout=10, engine_serve_canary_interval=2)
    assert run.status == "successful", run.said
    ranks = left_alone_while_busy(pair, 300)
    pair.host("spark1").check_output(INSIDE, f"touch {INJECTED}/no-answer")
    eventually(lambda: state(pair)["phase"] == "serving", False, seconds=3 * 10 + 10)
    eventually(lambda: len(incarnations(pair) - ranks), 2, seconds=240)


def test_systemd_takes_over_from_the_swarm_and_gives_it_back(pair: Pair, first: tuple[Run, int]) -> None:
    containers = "sudo docker ps --all --format '{{.Names}}' --filter name=trtllm"
    for launcher, names in (("docker", "dgx-spark-trtllm"), ("swarm", "dgx-spark-trtllm_leader")):
        ranks = incarnations(pair)
        dry = pair.serve(spark_launcher=launcher, check=True)
        assert dry.status == "successful", dry.said
        assert dry.changed
        assert incarnations(pair) == ranks
        run = pair.serve(spark_launcher=launcher)
        assert run.status == "successful", run.said
        assert pair.host("spark1").check_output(containers).partition(".")[0] == names
        for check in (False, True):
            again = pair.serve(spark_launcher=launcher, check=check)
            assert again.status == "successful", again.said
            assert again.changed == {}, again.made()


def test_a_unit_whose_container_is_killed_starts_it_again(pair: Pair, first: tuple[Run, int]) -> None:
    assert pair.serve(spark_launcher="docker").status == "successful"
    for name in (*SPARKS, *SPARKS):  # what a container leaves behind meets the next processes of the same numbers
        before, starts = incarnations(pair), state(pair)["starts"]
        pair.host(name).check_output("sudo docker kill --signal KILL dgx-spark-trtllm")
        eventually(lambda before=before: len(incarnations(pair) - before), 2, seconds=240)
        eventually(lambda: state(pair)["phase"], "serving", seconds=20)
        assert state(pair)["starts"] == starts + 1, state(pair)["last_end"]


@pytest.mark.parametrize(
    ("launcher", "left"),
    [("docker", ()), ("swarm", ()), ("swarm", SPARKS), ("swarm", SPARKS[:1])],
    ids=["docker", "swarm", "a swarm that both left", "a swarm that the leader left"],
)
def test_undo_leaves_nothing(pair: Pair, first: tuple[Run, int], launcher: str, left: tuple[str, ...]) -> None:
    run = pair.serve(spark_launcher=launcher)
    assert run.status == "successful", run.said
    for name in left:
        pair.host(name).check_output("sudo docker swarm leave --force")
    role = {"name": "sparkops.dgx_spark.trtllm_serve", "tasks_from": "undo"}
    play = [{"name": "Undo", "ansible.builtin.include_role": role}]
    for check, changes in ((True, True), (False, True), (True, False), (False, False)):
        run = pair.play([{"hosts": "spark", "gather_facts": False, "tasks": play}], check=check)
        assert run.status == "successful", run.said
        assert bool(run.changed) == changes
    for name in SPARKS:
        host = pair.host(name)
        assert host.check_output("sudo docker ps --all --quiet; sudo docker volume ls --quiet") == ""
        assert host.check_output("sudo docker image ls --quiet --filter label=dgx-spark=trtllm-serve") == ""
        assert host.check_output("sudo find /etc /var/lib/dgx-spark -path '*trtllm*'") == ""
