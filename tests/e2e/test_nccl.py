# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/nccl.yml on two virtual Sparks: sound, then with one fault after another, and nothing left; in order."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Iterator

import pytest

from .conftest import SERVED, SPARKS, Pair, Run

pytestmark = pytest.mark.matrix
HALF_B = "enP2p1s0f0np0"
#: few sizes, that the memory of any machine holds; the stand-in's figures need no more
QUICK = {"nccl_tests_max_bytes": 1 << 30, "nccl_tests_factor": 8, "nccl_plot": False}
ROLES = ("cx7_network", "container_toolkit")


def roles(pair: Pair, *entries: str) -> Run:
    """Entry points of the two roles that a measurement needs, in this order."""
    tasks = [
        {
            "name": f"{role} {entry}",
            "ansible.builtin.include_role": {"name": f"sparkops.dgx_spark.{role}", "tasks_from": entry},
        }
        for entry in entries
        for role in ROLES
    ]
    play = {"hosts": "spark", "gather_facts": False, "any_errors_fatal": True, "tasks": tasks}
    return pair.play([play], **SERVED)


@pytest.fixture(scope="module")
def fabric(pair: Pair) -> Iterator[Pair]:
    """The Sparks have a fabric and NVIDIA's runtime, and serve nothing."""
    run = roles(pair, "main")
    assert run.status == "successful", run.said
    yield pair
    run = roles(pair, "undo")
    assert run.status == "successful", run.said


@pytest.fixture(scope="module")
def before(fabric: Pair) -> dict[str, Any]:
    return fabric.state()


def measured(pair: Pair, path: Path, check: bool = False, **variables: Any) -> Run:
    return pair.play("nccl.yml", check=check, **{**SERVED, **QUICK, "nccl_report": str(path), **variables})


def report(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def left(pair: Pair) -> dict[str, str]:
    """Containers and files of a measurement, by host."""
    ask = "sudo docker ps --all --quiet --filter name=dgx-spark-nccl-tests; ls -d /run/dgx-spark-nccl-tests 2>/dev/null"
    return {name: pair.host(name).run(ask).stdout for name in SPARKS}


NOTHING = dict.fromkeys(SPARKS, "")


def test_a_dry_run_says_what_the_first_run_does(fabric: Pair, before: dict[str, Any], tmp_path: Path) -> None:
    dry = measured(fabric, tmp_path / "dry.json", check=True)
    assert dry.status == "successful", dry.said
    assert dry.planned() == {
        "spark1": {"Pull the base image", "Build the image of nccl-tests"},
        "spark2": {"Load the image from the leader"},
    }
    assert not (tmp_path / "dry.json").exists()
    run = measured(fabric, tmp_path / "one.json")
    assert run.status == "successful", run.said
    assert run.made() == dry.planned()
    found = report(tmp_path / "one.json")
    assert (found["outcome"], found["virtual"]) == ("sound", True)
    assert "the image's own" in found["origin"]
    assert [(one["operation"], one["whole"]) for one in found["summary"]] == [
        ("all_gather", True),
        ("all_reduce", True),
        ("sendrecv", True),
    ]
    assert {name: one["transport"] for name, one in found["networks"].items()} == dict.fromkeys(SPARKS, "IB")
    assert left(fabric) == NOTHING


def test_a_second_run_changes_nothing_and_draws_a_page(fabric: Pair, tmp_path: Path) -> None:
    run = measured(fabric, tmp_path / "two.json", nccl_plot=True, benchmark_cache=str(tmp_path / "cache"))
    assert run.status == "successful", run.said
    assert set(run.changed) <= {"spark1"}  # plotly, on the controller
    assert run.made().get("spark1", set()) <= {"Install plotly on this controller"}
    page = (tmp_path / "two.html").read_text()
    assert "Bus bandwidth by size" in page
    assert "VIRTUAL SPARKS" in page


@contextlib.contextmanager
def spoilt(pair: Pair, spark: str, spoil: str, mend: str) -> Iterator[None]:
    """Run a command as root on a Spark, and another when done."""
    pair.host(spark).check_output(f"sudo sh -c {spoil!r}")
    try:
        yield
    finally:
        pair.host(spark).check_output(f"sudo sh -c {mend!r}")


def failed(pair: Pair, path: Path, outcome: str, *words: str, **variables: Any) -> dict[str, Any]:
    """It fails with this outcome and these words, its report is there, and nothing is left."""
    run = measured(pair, path, **variables)
    assert run.status == "failed", run.said
    found = report(path)
    assert found["outcome"] == outcome, run.said
    assert [word for word in words if word not in run.words] == [], run.said
    assert left(pair) == NOTHING
    return found


def test_tcp_in_the_place_of_rdma(fabric: Pair, tmp_path: Path) -> None:
    fault = "/etc/virtual-spark/faults/rdma-uverbs-missing"
    # The hardware's stand-in looks once a second.
    with spoilt(fabric, "spark2", f"mkdir -p $(dirname {fault}) && touch {fault} && sleep 3", f"rm {fault} && sleep 3"):
        failed(fabric, tmp_path / "tcp.json", "tcp", "spark2 talks over TCP and not over RDMA")


def test_a_small_mtu(fabric: Pair, tmp_path: Path) -> None:
    both = "; ".join(f"ip link set {netdev} mtu {{0}}" for netdev in ("enp1s0f0np0", HALF_B))
    with spoilt(fabric, "spark1", both.format(1500), both.format(9000)):
        words = ["the MTU is below 4200 (spark1:", "Run cx7_network with its own MTU"]
        found = failed(fabric, tmp_path / "mtu.json", "mtu", *words)
    assert any("is not as cx7_network plans it" in one for one in found["doubts"])


def test_one_half_of_the_cable(fabric: Pair, tmp_path: Path) -> None:
    """Both halves are up, and the device of one has no node that a container could open."""
    node = "$(basename $(dirname $(grep -lx roceP2p1s0f0 /sys/class/infiniband_verbs/uverbs*/ibdev)))"
    with spoilt(
        fabric,
        "spark1",
        f"mv /dev/infiniband/{node} /run/half",
        f"mv /run/half /dev/infiniband/{node}",
    ):
        found = failed(fabric, tmp_path / "half.json", "half down", "spark1 does not use roceP2p1s0f0")
    assert max(one["busbw"] for one in found["summary"]) < 12


def test_wrong_values(fabric: Pair, tmp_path: Path) -> None:
    failed(
        fabric,
        tmp_path / "wrong.json",
        "wrong values",
        "values are wrong, first at",
        nccl_environment={"CUDA_VIRTUAL_SPARK_WRONG": "3"},
    )


def test_ranks_that_wait_for_each_other_are_ended(fabric: Pair, tmp_path: Path) -> None:
    rule = f"INPUT --in-interface {HALF_B} --protocol tcp --jump DROP"
    with spoilt(fabric, "spark2", f"iptables --insert {rule}", f"iptables --delete {rule}"):
        found = failed(
            fabric,
            tmp_path / "hang.json",
            "hang",
            "it was ended after",
            "before its first size",
            nccl_tests_limit_seconds=20,
        )
    assert list(found["operations"]) == ["all_reduce"]  # what hangs once is not tried again


def test_undo_leaves_nothing_but_the_base_image(fabric: Pair, before: dict[str, Any]) -> None:
    entry = {"name": "sparkops.dgx_spark.nccl_tests", "tasks_from": "undo"}
    play = {"hosts": "spark", "gather_facts": False, "tasks": [{"name": "Undo", "ansible.builtin.include_role": entry}]}
    run = fabric.play([play])
    assert run.status == "successful", run.said
    fabric.host("spark1").check_output(f"sudo docker image rm {SERVED['spark_image']}")
    after = fabric.state()
    for name in SPARKS:
        assert {about: after[name][about] for about in before[name]} == before[name]
    again = fabric.play([play])
    assert again.status == "successful", again.said
    assert not again.changed, again.said
