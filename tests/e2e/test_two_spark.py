# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From two blank virtual Sparks to a chat answer over MPI, by playbooks/two_spark.yml; in the order of the file."""

from __future__ import annotations

from typing import Any

from .conftest import SPARKS, Pair, Run, eventually, started


def refused(run: Run, *says: str) -> None:
    assert run.status == "failed", run.said
    for words in says:
        assert words in run.words, run.said
    assert run.changed == {}


def test_bad_input_changes_nothing_and_says_what_to_do(pair: Pair) -> None:
    before = pair.state()
    nobody: dict[str, Any] = {"spark": {"hosts": {}}}
    refused(pair.serve(inventory=nobody), "has 0 hosts", "Copy inventory/two_spark.yml")
    refused(pair.serve(inventory=pair.hosts("spark1")), "has 1 hosts, and this playbook serves on 2")
    refused(pair.serve("single_spark.yml"), "has 2 hosts, and this playbook serves on 1")
    twins = pair.hosts(*SPARKS)
    twins["spark"]["hosts"]["spark2"] = dict(twins["spark"]["hosts"]["spark1"])
    refused(pair.serve(inventory=twins), "spark1 and spark2 have the same management address", "correct ansible_host")
    refused(pair.serve(limit="spark2"), "leaves out spark1", "run it without --limit")
    refused(pair.serve(spark_model=""), "spark_model is not set", "-e spark_model=")
    refused(pair.serve(spark_model="nobody/nothing"), "nobody/nothing")
    refused(pair.serve(hf_cache_reserve_gb=10**6), "1000000 GB are to stay free", "name a cache on a larger disk")
    misspelt = {"print_iter_logs": True}
    refused(pair.serve(trtllm_serve_options=misspelt), "print_iter_logs", "did you mean print_iter_log?")
    assert pair.state() == before


def test_a_dry_run_on_blank_sparks_changes_nothing(pair: Pair) -> None:
    before = pair.state()
    run = pair.serve(check=True)
    assert run.status == "successful", run.said
    assert pair.state() == before


def test_a_cable_that_is_out_is_named(pair: Pair) -> None:
    pair.play("lab/playbooks/cable.yml", virtual_spark_cable_plugged=False)
    try:
        refused(pair.serve(), "spark1 has no live QSFP cable (no carrier in cage 0", "plug the cable")
    finally:
        pair.play("lab/playbooks/cable.yml", virtual_spark_cable_plugged=True)


def test_a_strangers_container_stops_a_restart_of_docker(pair: Pair, stranger: str) -> None:
    before = started(pair, stranger)
    refused(pair.serve(), "stranger", "container_toolkit_allow_restart")
    assert started(pair, stranger) == before


def test_two_blank_sparks_answer_over_mpi_and_rdma(pair: Pair, first: tuple[Run, int]) -> None:
    run, served = first
    answer = run.results("verify | Ask the engine a question")["spark1"]["json"]
    assert answer["virtual_spark"]["nonce_rank"] == 1
    assert [rank["host"] for rank in answer["virtual_spark"]["ranks"]] == ["spark1", "spark2"]
    ranks = run.results("verify | Wait for the first token")["spark1"]["state"]["ranks"]
    assert {name: rank["transport"] for name, rank in ranks.items()} == {"spark1": "IB", "spark2": "IB"}
    assert served == run.results("Verify | Every file is there, by hash")["spark1"]["bytes"], "once, for both"

    report = run.results("What was built and what was proven")["spark1"]["msg"]
    assert set(report) >= {"nodes", "image", "model", "endpoint", "rdma", "phase_seconds", "answer"}
    assert all(seconds > 0 for seconds in report["phase_seconds"].values())

    tasks = (
        "sudo docker stack ps dgx-spark-trtllm --filter desired-state=running --format '{{.Node}} {{.CurrentState}}'"
    )
    leader = pair.host("spark1")
    eventually(  # Swarm calls a task starting until its first health check, half a minute on
        lambda: sorted(line.split()[:2] for line in leader.check_output(tasks).splitlines()),
        [[name, "Running"] for name in SPARKS],
        seconds=60,
    )


def test_further_runs_leave_everything_and_a_stranger_alone(pair: Pair, first: tuple[Run, int], stranger: str) -> None:
    before = started(pair, stranger)
    for check in (False, True):
        again = pair.serve(check=check)
        assert again.status == "successful", again.said
        assert again.changed == {}
    assert started(pair, stranger) == before
