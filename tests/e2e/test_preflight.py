# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/preflight.yml on two virtual Sparks: slow at first, blocked by what was done to one of them, then ready."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import pytest

from .conftest import SERVED, SPARKS, Lab, Pair, Run, stocked, taken_down
from .state import BY_SERVING, captured, differences

pytestmark = pytest.mark.matrix
#: writes a real cable's bandwidth into what the fabric's role measured
FAST = (
    "import json; path = '/var/lib/dgx-spark/fabric/bandwidth.json'; found = json.load(open(path)); "
    "[one.update(gbps=190.0) for one in found['measured']]; json.dump(found, open(path, 'w'))"
)

ANSWER = "Say whether the model can be served"


@dataclass(frozen=True)
class Fault:
    """What is done to a Spark, how that is taken back, and what of the line that says so is looked for."""

    command: str
    undo: str
    host: str
    seen: str


FAULTS = {
    "a host name twice": Fault("sudo hostname spark1", "sudo hostname spark2", "spark1, spark2", "one host name"),
    "an interrupted installation": Fault(
        "sudo touch /var/lib/dpkg/updates/0001", "sudo rm /var/lib/dpkg/updates/0001", "spark2", "was interrupted"
    ),
}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two Sparks on which no role ever ran."""
    one = stocked(tmp_path_factory.mktemp("preflight"))
    yield one
    taken_down(one)


@pytest.fixture(scope="module")
def served(fresh: Pair) -> Pair:
    """The same Sparks when they serve."""
    run = fresh.serve()
    assert run.status == "successful", run.said
    return fresh


def asked(lab: Lab, **options: Any) -> Run:
    return lab.play("preflight.yml", **{**SERVED, "doctor_reach": "huggingface.test:80", **options})


def told(run: Run) -> dict[str, Any]:
    return run.results(ANSWER)["localhost"]


def moved(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """Which Spark gets something, and how."""
    slow = [one for one in answer["lines"] if one["kind"] == "slow"]
    return sorted((one["host"], one["seen"].rpartition(" to be ")[2]) for one in slow)


def test_a_blank_pair_is_ready_but_slow_and_told_how_much_has_to_move(fresh: Pair, tmp_path: Path) -> None:
    before, path = captured(fresh), tmp_path / "preflight.json"
    run = asked(fresh, preflight_json=str(path))
    assert run.status == "successful", run.said
    assert run.changed == {}, run.made()
    assert differences(before, captured(fresh)) == []
    answer = told(run)
    assert (answer["answer"], answer["complete"]) == ("ready but slow", True), answer["words"]
    assert moved(answer) == [
        ("spark1", "downloaded"),
        ("spark1", "pulled"),
        ("spark2", "copied"),
        ("spark2", "copied"),
    ]
    assert f"ready but slow; {answer['bytes'] / 1e9:.2f} GB have to move" in run.words
    document = json.loads(path.read_text())
    assert (document["answer"], document["bytes"]) == ("ready but slow", answer["bytes"])
    assert sorted(document["hosts"]) == list(SPARKS)


def test_without_root_the_model_is_planned_all_the_same(fresh: Pair) -> None:
    before = captured(fresh)
    run = asked(fresh, doctor_become=False)
    assert run.status == "successful", run.said
    assert differences(before, captured(fresh)) == []
    answer = told(run)
    assert (answer["answer"], answer["complete"]) == ("ready but slow", False), answer["words"]
    assert moved(answer) == [("spark1", "downloaded"), ("spark2", "copied")]
    assert "as far as could be looked at" in answer["words"][0]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_blocks_is_told_with_its_spark_and_changes_nothing(fresh: Pair, fault: Fault) -> None:
    spark = fresh.host("spark2")
    spark.check_output(fault.command)
    try:
        before = captured(fresh)
        run = asked(fresh)
        assert differences(before, captured(fresh)) == []
    finally:
        spark.check_output(fault.undo)
    assert run.status == "failed"
    answer = told(run)
    assert answer["answer"] == "blocked"
    lines = [one for one in answer["lines"] if one["kind"] == "blocked" and fault.seen in one["seen"]]
    assert [one["host"] for one in lines] == [fault.host], answer["words"]
    assert all(one["do"] for one in lines)
    assert run.words.rstrip().find("Nothing was changed.") > 0


def test_a_port_that_is_taken_blocks_by_the_plan_which_knows_what_it_wants(fresh: Pair) -> None:
    spark = fresh.host("spark2")
    spark.check_output("sudo systemd-run --quiet --unit=taken python3 -m http.server 2233")
    try:
        run = asked(fresh)
    finally:
        spark.check_output("sudo systemctl stop taken")
    assert run.status == "failed"
    blocking = told(run)["blocking"]
    assert [one for one in blocking if "spark2: port 2233 of" in one and "is taken by" in one], blocking


def test_nvidia_syncs_netplan_file_is_told_and_blocks_nothing(fresh: Pair) -> None:
    """The role adopts it, or its plan says why not."""
    spark = fresh.host("spark2")
    spark.check_output("sudo install -m 600 /dev/null /etc/netplan/99-nvidia-sync-cluster.yaml")
    try:
        run = asked(fresh)
    finally:
        spark.check_output("sudo rm /etc/netplan/99-nvidia-sync-cluster.yaml")
    assert run.status == "successful", run.said
    lines = [one for one in told(run)["lines"] if "NVIDIA Sync configured the fabric" in one["seen"]]
    assert [(one["host"], one["kind"]) for one in lines] == [("spark2", "told")]


@pytest.mark.parametrize("limit", ["spark1", "spark"])
def test_a_limit_that_leaves_out_who_judges_is_refused(fresh: Pair, limit: str) -> None:
    run = asked(fresh, limit=limit)
    assert run.status == "failed"
    assert "leaves out localhost, which judges" in run.words


def test_a_model_that_the_hub_does_not_have_blocks(fresh: Pair) -> None:
    run = asked(fresh, spark_model="lab/none")
    assert run.status == "failed"
    blocking = told(run)["blocking"]
    assert [one for one in blocking if "lab/none" in one], blocking


def test_a_spark_that_is_away_blocks_and_the_other_is_told(fresh: Pair) -> None:
    inventory = fresh.hosts(*SPARKS)
    inventory["spark"]["hosts"]["spark2"]["ansible_host"] = "192.0.2.1"
    inventory["spark"]["hosts"]["spark2"]["ansible_ssh_common_args"] = "-o ConnectTimeout=3"
    run = asked(fresh, inventory=inventory)
    assert run.status == "failed"
    answer = told(run)
    assert [one for one in answer["blocking"] if one.startswith("spark2: The Spark does not answer")]
    assert list(answer["hosts"]) == ["spark1"]


def test_sparks_that_serve_the_model_are_ready(served: Pair) -> None:
    """Were their cables as fast as real ones: a virtual cable's figure is that of a card in its bad state."""
    for name in served.names:
        served.host(name).check_output("sudo python3 -c %s", FAST)
    before = captured(served)
    run = asked(served)
    assert run.status == "successful", run.said
    assert differences(before, captured(served), BY_SERVING) == []
    answer = told(run)
    assert (answer["answer"], answer["complete"], answer["bytes"]) == ("ready", True, 0), answer["words"]
