# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor's playbook mends what the checks say that can be mended, each by tasks of its own, and nothing else."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.checks import load, treatable
from roles_support import ROOT, Task, flat

TASKS = ROOT / "playbooks" / "tasks"
TREAT = list(flat(TASKS / "doctor_treat.yml", yaml.safe_load((TASKS / "doctor_treat.yml").read_text())))
PLAYBOOK = yaml.safe_load((ROOT / "playbooks" / "doctor.yml").read_text())
READING = yaml.safe_load((ROOT / "playbooks" / "doctor_read.yml").read_text())
PREFLIGHT = yaml.safe_load((ROOT / "playbooks" / "preflight.yml").read_text())
PAGE = (ROOT / "docs" / "doctor.md").read_text()
SHOWS = ("planned_changes",)
READS = ("spark_host_info", "hf_models_info", "doctor_asked", "doctor_report", "doctor_bundle")


def mended_by(task: Task) -> set[str]:
    """The checks that a task mends: those whose findings decide whether it does anything."""
    said = f"{task.data.get('when', '')} {task.data.get('loop', '')}"
    return set(re.findall(r"spark_doctor_treat\.(\w+)", said))


def test_every_check_that_can_be_mended_has_tasks_and_no_other() -> None:
    assert {name for task in TREAT for name in mended_by(task)} == set(treatable())
    mends = PAGE.partition("## Mends")[2].partition("##")[0]
    assert re.findall(r"^\| `(\w+)` \| ", mends, re.MULTILINE)[1:] == treatable()


@pytest.mark.parametrize("task", TREAT, ids=lambda task: task.short)
def test_a_mend_is_named_after_its_check_and_made_for_that_alone(task: Task) -> None:
    (name,) = mended_by(task)
    assert task.short.startswith(f"Mend {name}, ")
    assert task.data["become"] is True
    assert task.module.partition(".")[2], "a module by its full name"


def test_every_check_that_a_virtual_spark_can_have_is_injected_there() -> None:
    faults = importlib.import_module("tests.e2e.doctor_faults")
    tests = (ROOT / "tests" / "e2e" / "test_doctor.py").read_text()
    assert [name for name in faults.BY_ITSELF.values() if f"def {name}(" not in tests] == []
    of_a_table = [one for table in (faults.FAULTS, faults.BLANK, faults.GATEWAY) for one in table.values()]
    injected = {name for one in of_a_table for name in (*one.finds, *one.elsewhere)} | set(faults.BY_ITSELF)
    assert injected == {name for name, check in load().items() if check.tried == "lab"}


def test_what_is_not_named_as_a_mend_only_reads() -> None:
    read = list(flat(TASKS / "doctor_read.yml", yaml.safe_load((TASKS / "doctor_read.yml").read_text())))
    plays = [*PLAYBOOK, *READING]
    tasks = [task for play in plays for task in flat(ROOT / "playbooks" / "doctor.yml", play.get("tasks"))]
    modules = {task.module for task in [*tasks, *read] if task.module}
    allowed = {f"sparkops.dgx_spark.{name}" for name in (*READS, *SHOWS)}
    allowed |= {f"ansible.builtin.{name}" for name in ("assert", "debug", "include_tasks")}
    assert modules <= allowed


def test_a_dry_run_shows_the_mends_and_makes_none() -> None:
    mend = next(play for play in PLAYBOOK if play.get("name") == "Mend")
    shown, made, again = mend["tasks"]
    assert "sparkops.dgx_spark.planned_changes" in shown
    assert "when" not in shown, "in any run"
    assert all("not ansible_check_mode" in task["when"] for task in (made, again))


@pytest.mark.parametrize(
    ("limit", "refused"), [("spark1", True), ("spark", True), ("spark1,localhost", False), ("", False)]
)
def test_who_judges_is_in_the_run(limit: str, refused: bool, tmp_path: Path) -> None:
    """Else the plays that judge are passed over, and the run ends well."""
    play = next(play for play in READING if play.get("name") == "Read")
    path = tmp_path / "play.yml"
    path.write_text(yaml.safe_dump([{**play, "hosts": "spark", "connection": "local", "tasks": play["tasks"][:1]}]))
    inventory = tmp_path / "hosts.ini"
    inventory.write_text("[spark]\nspark1\nspark2\n")
    argv = [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), str(path)]
    run = subprocess.run([*argv, *(["--limit", limit] if limit else [])], capture_output=True, text=True, check=False)
    assert (run.returncode != 0) is refused, run.stdout
    assert ("leaves out localhost, which judges" in " ".join(run.stdout.split())) is refused


@pytest.mark.parametrize(
    ("told", "rests"), [({"rests": False}, False), ({"rests": True}, True), ({}, False), (None, False)]
)
def test_a_stopped_docker_is_asked_by_no_plan(told: dict[str, bool] | None, rests: bool, tmp_path: Path) -> None:
    """It would start for the question; and one that could not be read is no reason."""
    play = next(play for play in PREFLIGHT if play.get("name") == "Plan")
    whole, model = (task for task in play["tasks"][0]["block"])
    assert "not __preflight_docker_rests" in whole["when"]
    assert "or __preflight_docker_rests" in model["when"]
    read = {"host": {"root": True}, **({} if told is None else {"docker_service": told})}
    variables = {"spark": {"hosts": {"spark1": {"spark_doctor_read": {"read": read}}, "spark2": {}}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(variables))
    check = {"ansible.builtin.assert": {"that": f"__preflight_docker_rests is {'true' if rests else 'false'}"}}
    keywords = {name: play[name] for name in ("hosts", "gather_facts", "vars")}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{**keywords, "connection": "local", "tasks": [check]}]))
    argv = [sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml")]
    run = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_names_are_checked_before_a_spark_is_asked() -> None:
    first = PLAYBOOK[0]
    assert first["hosts"] == "localhost"
    assert "sparkops.dgx_spark.doctor_asked" in [key for task in first["tasks"] for key in task]


def test_the_page_has_the_variables_of_the_playbook() -> None:
    text = "".join(path.read_text() for path in [*ROOT.glob("playbooks/doctor*.yml"), *TASKS.glob("doctor_*.yml")])
    read = set(re.findall(r"(?<![\w.])doctor_[a-z_]+", re.sub(r"(?m)^\s*#.*$", "", text)))
    options = {name for name in read if not name.startswith(("doctor_read", "doctor_treat.", "doctor_asked"))}
    told = set(re.findall(r"`(doctor_[a-z_]+)`", PAGE))
    files = {"doctor_report", "doctor_bundle"}
    assert options - files - {"doctor_treat"} <= told
    assert {name for name in told if name not in read} == set()


def test_the_page_counts_the_checks() -> None:
    assert f", {len(load())} checks:" in PAGE


def test_a_preflight_reads_plans_and_answers_and_runs_no_entry_point_that_changes() -> None:
    assert PREFLIGHT[0]["ansible.builtin.import_playbook"] == "doctor_read.yml"
    planning = yaml.safe_load((TASKS / "roles_plan.yml").read_text())
    tasks = [task for play in PREFLIGHT for task in flat(ROOT / "playbooks" / "preflight.yml", play.get("tasks"))]
    tasks += flat(TASKS / "roles_plan.yml", planning)
    included = [task.arguments for task in tasks if task.module.endswith("_role")]
    assert {one["tasks_from"] for one in included} == {"plan"}
    modules = {task.module for task in tasks if task.module and not task.module.endswith(("_role", "include_tasks"))}
    assert modules == {
        "ansible.builtin.assert",
        "ansible.builtin.debug",
        "sparkops.dgx_spark.preflight_report",
        "sparkops.dgx_spark.spark_members_check",
    }
