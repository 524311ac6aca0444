# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From two blank virtual Sparks to a chat answer over MPI, by playbooks/two_spark.yml."""

from __future__ import annotations

import json
import shutil
import urllib.request
from typing import Any, Iterator

import pytest

from .conftest import Lab, brought_up
from .test_lab import eventually

VARIABLES = {
    "spark_model": "lab/tiny-chat",
    "spark_hf_endpoint": "http://huggingface.test",
    "spark_image": "nvcr.test/nvidia/tensorrt-llm/release:1.3.0rc13",
    "hf_cache_reserve_gb": 1,
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two blank Sparks, an image in their registry and a model on their hub."""
    one = brought_up(tmp_path_factory.mktemp("pair"))
    stocked = one.play("lab_engine.yml")
    assert stocked.status == "successful", stocked.said
    yield one
    down = one.play("lab_down.yml")
    assert down.status == "successful", down.said
    shutil.rmtree(one.scratch)


def hub_bytes(lab: Lab) -> int:
    with urllib.request.urlopen(f"http://{lab.internet}:9000/stats", timeout=30) as reply:
        return json.load(reply)["services"].get("hub", {}).get("content_bytes", 0)


def refused(lab: Lab, says: str, **variables: Any) -> None:
    run = lab.play("two_spark.yml", **{**VARIABLES, **variables})
    assert run.status == "failed"
    assert says in " ".join(run.said.split()), run.said
    assert not any(counts.get("changed") for counts in run.stats.values())


def test_bad_input_changes_nothing(pair: Lab) -> None:
    refused(pair, "spark_model is not set", spark_model="")
    refused(pair, "this playbook serves on 3", spark_count=3)


def test_two_blank_sparks_answer_over_mpi_and_rdma(pair: Lab) -> None:
    before = hub_bytes(pair)
    first = pair.play("two_spark.yml", **VARIABLES)
    assert first.status == "successful", first.said
    assert all(count == 0 for counts in first.stats.values() for name, count in counts.items() if name == "failures")

    answer = first.results("Prove | Ask it a question")["spark1"]["json"]
    assert answer["virtual_spark"]["nonce_rank"] == 1
    assert [rank["host"] for rank in answer["virtual_spark"]["ranks"]] == ["spark1", "spark2"]
    ranks = first.results("Prove | Wait for the first token")["spark1"]["state"]["ranks"]
    assert {name: rank["transport"] for name, rank in ranks.items()} == {"spark1": "IB", "spark2": "IB"}

    tasks = (
        "sudo docker stack ps dgx-spark-trtllm --filter desired-state=running --format '{{.Node}} {{.CurrentState}}'"
    )
    spark = pair.host("spark1")
    eventually(  # Swarm calls a task starting until its first health check, half a minute on
        lambda: sorted(line.split()[:2] for line in spark.check_output(tasks).splitlines()),
        [["spark1", "Running"], ["spark2", "Running"]],
        seconds=60,
    )

    model = first.results("Verify | Every file is there, by hash")["spark1"]["bytes"]
    assert hub_bytes(pair) - before == model, "the hub served every file once for both"


def test_a_second_run_changes_nothing(pair: Lab) -> None:
    for check in (False, True):
        again = pair.play("two_spark.yml", check=check, **VARIABLES)
        assert again.status == "successful", again.said
        assert {host: counts.get("changed", 0) for host, counts in again.stats.items()} == dict.fromkeys(again.stats, 0)


def test_a_misspelt_option_is_refused_before_anything_starts(pair: Lab) -> None:
    refused(pair, "did you mean print_iter_log?", trtllm_serve_options={"print_iter_logs": True})
