# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The leader's program of a measurement, with real processes in the place of mpirun."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest

ROOT = Path(__file__).parents[3]
SUPERVISOR = str(ROOT / "roles/engine_serve/files/image")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The program, beside the supervisor whose modules it uses, in directories of its own."""
    monkeypatch.syspath_prepend(SUPERVISOR)
    path = ROOT / "roles/nccl_tests/files/image/nccl_tests.py"
    spec = importlib.util.spec_from_file_location("nccl_tests_program", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config, state, own = (tmp_path / name for name in ("config", "state", "own"))
    for folder in (config, state, own):
        folder.mkdir()
    (own / "origin").write_text("the image's own, /here\n")
    monkeypatch.setattr(module.paths, "CONFIG", config)
    monkeypatch.setattr(module.paths, "STATE", state)
    monkeypatch.setattr(module.paths, "SSH_HOME", tmp_path / "ssh")
    monkeypatch.setattr(module, "FOLDER", own)
    monkeypatch.delenv("DGX_SPARK_CONFIG", raising=False)
    nodes = [{"name": name, "address": f"192.168.100.{last}"} for name, last in (("spark1", 10), ("spark2", 11))]
    cluster = {"nodes": nodes, "ssh_port": 2234, "environment": {"NCCL_DEBUG": "INFO"}, "subnets": [], "netdevs": []}
    (config / "cluster.json").write_text(json.dumps(cluster))
    asked = {"operations": ["all_reduce", "sendrecv"], "arguments": ["-b", "8"], "limit_s": 5, "start_s": 0}
    (config / "nccl_tests.json").write_text(json.dumps(asked))
    monkeypatch.setattr(module.ssh, "refusal", lambda _name: "")
    monkeypatch.setattr(module.mpi, "check", lambda _cluster: [])
    monkeypatch.setattr(module.mpi, "mpirun", lambda _cluster, command, _forward: ["echo", *command])
    yield module
    for name in [name for name in sys.modules if name.partition(".")[0] == "supervisor"]:
        monkeypatch.delitem(sys.modules, name)


def result(program: Any) -> dict[str, Any]:
    return dict(json.loads((program.paths.STATE / "result.json").read_text()))


def test_each_operation_has_a_log_and_an_end(program: Any) -> None:
    assert program.main() == 0
    found = result(program)
    assert (found["problem"], found["left_out"], found["origin"]) == ("", [], "the image's own, /here")
    assert {name: (one["status"], one["timed_out"]) for name, one in found["operations"].items()} == {
        "all_reduce": (0, False),
        "sendrecv": (0, False),
    }
    log = (program.paths.STATE / "sendrecv.log").read_text()
    assert log == f"{program.FOLDER}/sendrecv_perf -b 8\n"


def test_one_that_hangs_is_ended_with_all_that_it_started_and_the_rest_is_left_out(
    program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = json.loads((program.paths.CONFIG / "nccl_tests.json").read_text())
    (program.paths.CONFIG / "nccl_tests.json").write_text(json.dumps({**asked, "limit_s": 0.5}))
    monkeypatch.setattr(program, "GRACE_S", 0.5)
    stubborn = ["bash", "-c", "trap '' TERM; echo begun; sleep 60 & wait; wait"]
    monkeypatch.setattr(program.mpi, "mpirun", lambda *_args: stubborn)
    assert program.main() == 0
    found = result(program)
    assert found["operations"]["all_reduce"]["timed_out"]
    assert found["left_out"] == ["sendrecv"]
    assert (program.paths.STATE / "all_reduce.log").read_text() == "begun\n"


def test_a_worker_that_does_not_let_the_leader_in_is_named(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program.ssh, "refusal", lambda _name: "Connection refused")
    assert program.main() == 1
    problem = result(program)["problem"]
    assert "spark2 does not let MPI in at 192.168.100.11:2234" in problem
    assert "Connection refused" in problem
    assert result(program)["left_out"] == ["all_reduce", "sendrecv"]


def test_an_mpi_that_says_nothing_is_told(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_cluster: object) -> None:
        raise subprocess.TimeoutExpired("mpirun", 120)

    monkeypatch.setattr(program.mpi, "check", silent)
    assert program.main() == 1
    assert "MPI's ranks say nothing within 120 s" in result(program)["problem"]
