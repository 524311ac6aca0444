# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From two blank virtual Sparks to a chat answer over MPI, by playbooks/two_spark.yml; in the order of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import SPARKS, Pair, Run, eventually, started
from .state import BY_SERVING, captured, differences


def refused(run: Run, *says: str) -> None:
    assert run.status == "failed", run.said
    for words in says:
        assert words in run.words, run.said
    assert run.changed == {}, run.made()


def test_bad_input_changes_nothing_and_says_what_to_do(pair: Pair) -> None:
    before = pair.state()
    nobody: dict[str, Any] = {"spark": {"hosts": {}}}
    refused(pair.serve(inventory=nobody), "has 0 hosts", "Copy inventory/two_spark.yml")
    refused(pair.serve(inventory=pair.hosts("spark1")), "has 1 hosts, and this playbook serves on 2")
    refused(pair.serve("single_spark.yml"), "has 2 hosts, and this playbook serves on 1")
    twins = pair.hosts(*SPARKS)
    twins["spark"]["hosts"]["spark2"] = dict(twins["spark"]["hosts"]["spark1"])
    refused(pair.serve(inventory=twins), "spark1 and spark2 have the same management address", "correct ansible_host")
    refused(pair.serve(limit="spark2"), "spark1 of spark_members", "is not in this play", "run without --limit")
    refused(pair.serve(spark_model=""), "spark_model is not set", "-e spark_model=")
    refused(pair.serve(spark_model="nobody/nothing"), "nobody/nothing")
    refused(pair.serve(hf_cache_reserve_gb=10**6), "1000000 GB are to stay free", "name a cache on a larger disk")
    misspelt = {"print_iter_logs": True}
    refused(pair.serve(trtllm_serve_options=misspelt), "print_iter_logs", "did you mean print_iter_log?")
    assert pair.state() == before


@pytest.mark.matrix
def test_a_model_that_does_not_fit_is_refused_before_a_byte_of_it_moves(pair: Pair) -> None:
    before, served = pair.state(), pair.hub_bytes()
    long = {"tp_size": 2, "max_batch_size": 4, "max_seq_len": 10**9}
    refused(
        pair.serve(trtllm_serve_arguments=long),
        "max_seq_len asks for 1000000000",
        "What would fit: a shorter context: max_seq_len 4096 in trtllm_serve_arguments",
        "To try it all the same, set spark_model_force: true. Nothing was changed.",
    )
    for_three = {"lab/tiny-chat": {"min_sparks": 3}}
    refused(pair.serve(spark_models=for_three), "lab/tiny-chat needs 3 Sparks, and 2 are to serve it")
    assert pair.state() == before
    assert pair.hub_bytes() - served < 10**6, "the plans read config.json, and no weights"


#: of a lab's image the unpacked layers do not fit into this beside the GB that is to stay free
SMALL = "size=1000m,mode=0777"


@pytest.mark.matrix
def test_a_disk_that_is_too_small_for_the_image_on_its_way_is_named(pair: Pair) -> None:
    """Docker's own, on the worker: the model lies elsewhere, and fits."""
    before, worker = pair.state(), pair.host("spark2")
    config = '{"data-root": "/small/docker"}'
    worker.check_output(f"sudo mkdir /small && sudo mount -t tmpfs -o {SMALL} none /small")
    worker.check_output("sudo mkdir -p /etc/docker && echo %s | sudo tee /etc/docker/daemon.json", config)
    worker.check_output("sudo systemctl restart docker")
    try:
        refused(
            pair.serve(),
            "spark2: what will lie on /small does not fit",
            "docker load's own copy, of the largest layers in /small/docker",
            "1 GB are to stay free (engine_serve_reserve_gb)",
            '"data-root" in /etc/docker/daemon.json',
        )
    finally:
        worker.check_output("sudo rm /etc/docker/daemon.json && sudo systemctl restart docker")
        worker.check_output("sudo umount /small && sudo rmdir /small")
    assert _but_for_the_bridge(pair.state()) == _but_for_the_bridge(before)


def _but_for_the_bridge(state: dict[str, dict[str, list[str]]]) -> dict[str, dict[str, list[str]]]:
    """Without Docker's network of that name, which gets another ID whenever Docker starts; docker0 stays as it is."""
    return {
        name: {
            subject: [line for line in lines if line.partition(" ")[0] != "bridge"] for subject, lines in about.items()
        }
        for name, about in state.items()
    }


@pytest.fixture(scope="module")
def dry(pair: Pair) -> Run:
    """A dry run on blank Sparks, after which they are what they were."""
    before = captured(pair)
    run = pair.serve(check=True)
    assert run.status == "successful", run.said
    assert differences(before, captured(pair)) == []
    return run


def test_a_dry_run_on_blank_sparks_lists_changes_and_makes_none(dry: Run) -> None:
    assert set(dry.planned()) == set(SPARKS)


@pytest.mark.matrix
def test_plan_yml_lists_the_same_changes_and_verify_yml_names_them(pair: Pair, dry: Run) -> None:
    before = captured(pair)
    plan = pair.serve("plan.yml")
    assert plan.status == "successful", plan.said
    assert (plan.planned(), plan.changed) == (dry.planned(), {})
    refused(pair.serve("verify.yml"), "is not as planned", "Run the playbook, or see it with --check --diff.")
    assert differences(before, captured(pair)) == []


def models(pair: Pair, out: Path, **options: Any) -> dict[str, dict[str, Any]]:
    """What models.yml tells of each model, read from its file; the Sparks are what they were."""
    before = captured(pair)
    run = pair.serve("models.yml", spark_models_out=str(out), **options)
    assert run.status == "successful", run.said
    assert run.changed == {}, run.made()
    assert differences(before, captured(pair), BY_SERVING) == []
    table = (out / "models.txt").read_text()
    assert all(line in run.said for line in table.splitlines() if line)
    assert (out / "models.html").read_text().startswith("<!DOCTYPE html>")
    return {one["handle"]: one for one in json.loads((out / "models.json").read_text())["models"]}


@pytest.mark.matrix
def test_models_yml_tells_of_the_hubs_model_before_it_is_there(pair: Pair, dry: Run, tmp_path: Path) -> None:
    before = pair.hub_bytes()
    told = models(pair, tmp_path / "some" / "where", spark_models_only="tiny-chat,openai/gpt-oss-20b")
    assert pair.hub_bytes() - before < 20_000 + 3 * 65_536, "config.json and the beginnings of the weights"
    assert set(told) == {"lab/tiny-chat", "openai/gpt-oss-20b"}
    tiny, other = told["lab/tiny-chat"], told["openai/gpt-oss-20b"]
    assert (tiny["origin"], tiny["problem"], tiny["active_basis"]) == ("hub", "", "the headers of the weights")
    assert [disk["needed_bytes"] for disk in tiny["disks"]] == [tiny["bytes"]] * 2
    assert tiny["bytes"] > 40_000_000
    assert (other["origin"], other["bytes"] > 10**10) == ("", True)
    assert "openai/gpt-oss-20b is not on the hub http://huggingface.test" in other["problem"]


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
    report = run.results("Report what was built and verified")["spark1"]["msg"]
    assert set(report) >= {"nodes", "image", "model", "endpoint", "rdma", "phase_seconds", "answer"}
    assert set(report["phase_seconds"]) == {"plan", "fabric", "docker", "model", "serve"}
    assert all(seconds > 0 for seconds in report["phase_seconds"].values())
    assert {name: rank["transport"] for name, rank in report["rdma"].items()} == {"spark1": "IB", "spark2": "IB"}
    plan_reads = 20_000 + 3 * 65_536
    assert 0 <= served - int(report["model_bytes"]) < plan_reads, "once, for both, and what the plan reads"
    assert "Rank 1 of 2, on spark2, gave this request the nonce" in report["answer"]
    ranks = pair.asked()["virtual_spark"]["ranks"]
    assert [rank["host"] for rank in ranks] == ["spark1", "spark2"]

    tasks = (
        "sudo docker stack ps dgx-spark-trtllm --filter desired-state=running --format '{{.Node}} {{.CurrentState}}'"
    )
    leader = pair.host("spark1")
    eventually(  # Swarm calls a task starting until its first health check, half a minute on
        lambda: sorted(line.split()[:2] for line in leader.check_output(tasks).splitlines()),
        [[name, "Running"] for name in SPARKS],
        seconds=60,
    )


def test_a_run_makes_the_changes_that_the_dry_run_listed_and_no_other(dry: Run, first: tuple[Run, int]) -> None:
    assert first[0].made() == dry.planned()


def test_further_runs_leave_everything_and_a_stranger_alone(pair: Pair, first: tuple[Run, int], stranger: str) -> None:
    before = started(pair, stranger)
    for check in (False, True):
        again = pair.serve(check=check)
        assert again.status == "successful", again.said
        assert again.changed == {}, again.made()
    assert started(pair, stranger) == before


@pytest.mark.matrix
def test_models_yml_tells_where_a_model_is_and_how_fast_it_came(
    pair: Pair, first: tuple[Run, int], tmp_path: Path
) -> None:
    tiny = models(pair, tmp_path, spark_models_only="lab/tiny-chat")["lab/tiny-chat"]
    assert [(disk["needed_bytes"], disk["whole"]) for disk in tiny["disks"]] == [(0, True)] * 2
    assumed = json.loads((tmp_path / "models.json").read_text())["assumed"]
    assert (assumed["download"]["basis"], assumed["copy"]["basis"]) == ("measured", "measured")
    with pair.offline():
        run = pair.serve("models.yml", spark_models_out=str(tmp_path / "offline"), spark_models_offline=True)
    assert run.status == "successful", run.said
    told = {one["handle"]: one for one in json.loads((tmp_path / "offline" / "models.json").read_text())["models"]}
    assert (told["lab/tiny-chat"]["origin"], told["lab/tiny-chat"]["commit"]) == ("cache", tiny["commit"])
    assert len(told) > 20, "the catalogue's"


@pytest.mark.matrix
def test_verify_yml_proves_what_is_there_and_changes_nothing(pair: Pair, first: tuple[Run, int]) -> None:
    before = captured(pair)
    run = pair.serve("verify.yml")
    assert run.status == "successful", run.said
    assert run.changed == {}, run.made()
    assert "Rank 1 of 2" in run.results("Report what was verified")["spark1"]["msg"]["answer"]
    plan = pair.serve("plan.yml")
    assert (plan.planned(), plan.changed) == ({}, {})
    assert differences(before, captured(pair), BY_SERVING) == []
