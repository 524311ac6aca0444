# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/status.yml on a pair of virtual Sparks that serves, and on one that something was done to."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any, Iterator

import jsonschema
import pytest

from .conftest import ROOT, SPARKS, Pair, Run, eventually
from .state import BY_SERVING, captured, differences

pytestmark = pytest.mark.matrix
SCHEMA = json.loads((ROOT / "docs" / "status.schema.json").read_text())
NAME = "dgx-spark-trtllm"


@pytest.fixture(scope="module")
def serving(pair: Pair, first: tuple[Run, int]) -> Pair:
    """The pair after two_spark.yml."""
    eventually(lambda: bool(pair.asked()), True, seconds=240)
    return pair


def status(pair: Pair, out: Path, **options: Any) -> tuple[dict[str, Any], Run]:
    """What status.yml tells, read from its file and compared with its schema."""
    run = pair.play("status.yml", ansible_become=True, status_json=str(out / "status.json"), **options)
    told = json.loads((out / "status.json").read_text())
    jsonschema.validate(told, SCHEMA)
    return told, run


def kinds(told: dict[str, Any]) -> set[str]:
    return {one["kind"] for one in told["anomalies"]}


def test_a_pair_that_serves_is_told_with_all_that_it_serves(serving: Pair, tmp_path: Path) -> None:
    before = captured(serving)
    told, run = status(serving, tmp_path, status_fail_at="serious")
    assert run.status == "successful", run.said
    assert run.changed == {}, run.made()
    assert not [one for one in told["anomalies"] if one["class"] == "serious"], told["anomalies"]
    assert [host["name"] for host in told["hosts"] if host["answered"]] == list(SPARKS)
    (one,) = (some for some in told["instances"] if some["name"] == NAME)
    assert (one["serves"], one["phase"], one["leader"]) == (True, "serving", "spark1")
    assert (one["model"]["repo"], len(one["model"]["commit"])) == ("lab/tiny-chat", 40)
    assert one["image"]["base_digest"].startswith("sha256:")
    assert one["kv_tokens"] > 0
    assert [(rank["host"], rank["state"], rank["transport"]) for rank in one["ranks"]] == [
        ("spark1", "running", "IB"),
        ("spark2", "running", "IB"),
    ]
    assert all(rank["age_s"] > 0 for rank in one["ranks"])
    table = run.words[run.words.index("STATUS ") :]
    assert all(name in table for name in (*SPARKS, "lab/tiny-chat", "serving"))
    assert 0 < one["canary_s"] < 60
    assert one["receipt"]["transports"] == {"spark1": "IB", "spark2": "IB"}
    assert one["receipt"]["first_token_s"] == one["load_s"]
    assert one["receipt"]["bytes_loaded"] > 0
    assert "transports IB" in table
    assert differences(before, captured(serving), BY_SERVING) == []


def test_it_takes_no_longer_than_four_pings(serving: Pair, tmp_path: Path) -> None:
    def seconds(*command: str) -> float:
        began = time.monotonic()
        subprocess.run([*command], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        return time.monotonic() - began

    inventory = ("-i", str(serving.inventory))
    pings = [seconds("ansible", *inventory, "spark", "-m", "ping") for _ in range(3)]
    takes = [seconds("ansible-playbook", *inventory, "playbooks/status.yml", "--become") for _ in range(3)]
    assert min(takes) <= 4 * min(pings), (pings, takes)


def test_a_killed_rank_is_told_while_it_is_down_or_as_a_restart(serving: Pair, tmp_path: Path) -> None:
    worker = f"$(sudo docker ps --quiet --filter name={NAME}_worker)"
    serving.host("spark2").check_output(f"sudo docker kill --signal KILL {worker}")
    told, _run = status(serving, tmp_path)
    about = [one for one in told["anomalies"] if one["host"] == "spark2" and one["instance"] == NAME]
    assert {one["kind"] for one in about} & {"rank_down", "restarted"}, told["anomalies"]
    eventually(lambda: bool(serving.asked()), True, seconds=240)
    told, run = status(serving, tmp_path, status_fail_at="serious")
    assert run.status == "successful", run.said
    (one,) = (some for some in told["instances"] if some["name"] == NAME)
    assert one["ranks"][1]["restarts"] >= 1
    assert "restarted" in kinds(told)


@pytest.fixture
def unplugged(serving: Pair) -> Iterator[Pair]:
    serving.play("lab/playbooks/cable.yml", virtual_spark_cable_plugged=False)
    yield serving
    serving.play("lab/playbooks/cable.yml")
    eventually(lambda: bool(serving.asked()), True, seconds=300)


def test_a_cable_that_is_out_is_told_and_fails_a_run_that_asks_for_that(unplugged: Pair, tmp_path: Path) -> None:
    told, run = status(unplugged, tmp_path, status_fail_at="serious")
    assert kinds(told) & {"link_down", "rdma_device_missing"}, told["anomalies"]
    assert run.status == "failed"
    assert "The table above says what to do" in run.words
    assert unplugged.play("status.yml", ansible_become=True).status == "successful"


@pytest.fixture
def alone(serving: Pair) -> Iterator[Pair]:
    subprocess.run(["docker", "pause", f"{serving.name}-spark2"], check=True, stdout=subprocess.DEVNULL)
    yield serving
    subprocess.run(["docker", "unpause", f"{serving.name}-spark2"], check=True, stdout=subprocess.DEVNULL)
    eventually(lambda: bool(serving.asked()), True, seconds=300)


def test_a_spark_that_is_off_is_told_and_the_other_too(alone: Pair, tmp_path: Path) -> None:
    told, run = status(alone, tmp_path)
    assert run.status == "successful", run.said
    assert [(host["name"], host["answered"]) for host in told["hosts"]] == [("spark1", True), ("spark2", False)]
    (one,) = (one for one in told["anomalies"] if one["kind"] == "host_unreachable")
    assert (one["host"], told["anomalies"][0]) == ("spark2", one)
    assert "1 of 2 Sparks answer" in run.words


def test_a_user_without_rights_is_told_all_but_what_docker_tells(serving: Pair, tmp_path: Path) -> None:
    run = serving.play("status.yml", status_json=str(tmp_path / "status.json"))
    assert run.status == "successful", run.said
    told = json.loads((tmp_path / "status.json").read_text())
    jsonschema.validate(told, SCHEMA)
    assert all(host["answered"] and host["memory"]["total_mib"] for host in told["hosts"])
    assert [one["phase"] for one in told["instances"] if one["name"] == NAME] == ["serving"]
