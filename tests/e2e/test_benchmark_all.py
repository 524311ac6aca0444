# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/benchmark_all.yml on one virtual Spark with two models: interrupted, gone on with, and a model that fails.

It needs AIPerf, as test_benchmark.py says.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml

from .benchmark_client import installed
from .conftest import ROOT, SERVED, Pair, Run, eventually, stocked, taken_down
from .test_switch import GATED, A, B, faulty, good, history, serves, started, with_models

pytestmark = pytest.mark.matrix
#: two runs of two requests, so that there is something to interrupt between
LOAD = {"benchmark_output": 8, "benchmark_requests": 2, "benchmark_runs": 2}


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One Spark that serves the first model; its hub has a second one, and one that is gated."""
    one = with_models(stocked(tmp_path_factory.mktemp("every"), virtual_spark_count=1))
    one.variables.update(installed(one, tmp_path_factory.mktemp("client")))
    good(one.serve("single_spark.yml"))
    assert serves(one) == A
    yield one
    taken_down(one)


def measured(spark: Pair, out: Path, *models: str, check: bool = False, **options: Any) -> Run:
    asked = {**SERVED, **LOAD, "benchmark_models": list(models), "benchmark_out": str(out), **options}
    return spark.play("benchmark_all.yml", check=check, **asked)


def begun(spark: Pair, out: Path, *models: str) -> subprocess.Popen[bytes]:
    """Start it as a person does."""
    path = spark.scratch / "options.yml"
    asked = {**SERVED, **LOAD, **spark.variables, "benchmark_models": list(models), "benchmark_out": str(out)}
    path.write_text(yaml.safe_dump(asked))
    argv = ["ansible-playbook", "-i", str(spark.inventory), "-e", f"@{path}", str(ROOT / "playbooks/benchmark_all.yml")]
    settings = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
    }
    quiet = subprocess.DEVNULL
    return subprocess.Popen(argv, env={**os.environ, **settings}, stdin=quiet, stdout=quiet, stderr=quiet)


def journal(out: Path) -> dict[str, Any]:
    path = out / "all" / "journal.json"
    return json.loads(path.read_text()) if path.exists() else {"models": {}, "before": None}


def runs(out: Path, model: str) -> list[dict[str, Any]]:
    """The runs of a result, those of its only load."""
    path = out / f"all-{model.replace('/', '--')}.json"
    return json.loads(path.read_text())["cells"][0]["runs"] if path.exists() else []


def test_interrupted_and_run_again_nothing_is_measured_twice_and_nothing_is_lost(spark: Pair, tmp_path: Path) -> None:
    since = started(spark)
    run = good(measured(spark, tmp_path, A, B, GATED, check=True))
    assert "BENCHMARK of 3 models, quick on 1 Spark: 2 to be measured, about" in run.words
    assert f"{GATED} skipped: {GATED} is gated" in run.words
    assert (list(tmp_path.iterdir()), started(spark)) == ([], since)

    play = begun(spark, tmp_path, A, B, GATED)
    eventually(lambda: play.poll() is not None or len(runs(tmp_path, B)) == 1, True, seconds=600)
    assert play.poll() is None, (tmp_path / "all").exists() and sorted((tmp_path / "all").rglob("*.log"))
    play.send_signal(signal.SIGKILL)
    play.wait(60)
    lock = ["flock", "--timeout", "90", str(tmp_path / "all" / "lock"), "true"]
    subprocess.run(lock, check=True)  # what it began has ended
    told = journal(tmp_path)
    assert {model: one["state"] for model, one in told["models"].items()} == {A: "measured", B: "started"}
    assert told["before"]["repo"] == A
    first = {model: runs(tmp_path, model) for model in (A, B)}
    assert [len(first[model]) for model in (A, B)] == [2, 1]

    run = good(measured(spark, tmp_path, A, B, GATED))
    assert runs(tmp_path, A) == first[A]
    assert runs(tmp_path, B)[:1] == first[B]
    assert [one["good"] for one in runs(tmp_path, B)] == [True, True]
    told = journal(tmp_path)
    assert {model: one["state"] for model, one in told["models"].items()} == {A: "measured", B: "measured"}
    assert told["before"] is None
    assert serves(spark) == A
    assert history(spark)[-1]["repo"] == A
    assert f"{GATED} skipped: {GATED} is gated" in run.words

    since, before = started(spark), {path: path.read_bytes() for path in tmp_path.glob("*.json")}
    run = good(measured(spark, tmp_path, A, B, GATED))
    assert "0 to be measured" in run.words
    assert {path: path.read_bytes() for path in tmp_path.glob("*.json")} == before
    assert started(spark) == since
    other = measured(spark, tmp_path, A, B, benchmark_output=9)
    assert "name another benchmark (benchmark_name). Nothing was measured." in other.words


def test_a_model_that_does_not_serve_is_a_row_with_its_reason(spark: Pair, tmp_path: Path) -> None:
    faults = {**faulty(spark, "die-at-load"), "engine_serve_max_starts": 1}
    run = measured(spark, tmp_path, B, A, **faults)
    assert run.status == "failed"
    assert f"{B} failed: spark1 does not serve {B} as it should" in run.words
    assert f"{A} measured" in run.words
    assert "run this again with -e benchmark_retry=true" in run.words
    assert {model: one["state"] for model, one in journal(tmp_path)["models"].items()} == {A: "measured", B: "failed"}
    assert serves(spark) == A
    again = measured(spark, tmp_path, B, A, **faults)
    assert "0 to be measured" in again.words
    assert again.status == "failed"
