# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the end-to-end tests and the bench compute without any Spark."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any, Iterator

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def support(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("tests.e2e.conftest")


@pytest.mark.parametrize(
    "name",
    [
        "tests.bench.converged",
        "tests.bench.profile",
        "tests.e2e.pace",
        "tests.e2e.state",
        "tests.table",
        "tests.troubleshooting",
    ],
)
def test_examples_in_docstrings_are_true(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed


def test_a_wait_is_as_long_as_the_machine_makes_it(support: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """As strict as it was written where nothing runs beside; and over at some time in any case."""
    pace = importlib.import_module("tests.e2e.pace")
    wall, machine = [0.0], pace._Machine()
    monkeypatch.setattr(machine, "watch", lambda: None)
    monkeypatch.setattr(pace, "_MACHINE", machine)

    def passes(seconds: float, part: float) -> None:
        wall[0] += seconds
        machine.given += seconds * part

    for part, waited in ((1.0, 60), (0.5, 120), (0.0, 600)):
        monkeypatch.setattr(pace.time, "monotonic", lambda: wall[0])
        monkeypatch.setattr(support.time, "sleep", lambda _seconds, part=part: passes(1, part))
        began = wall[0]
        with pytest.raises(AssertionError, match="after"):
            support.eventually(lambda: "no", "yes", seconds=60)
        assert wall[0] - began == waited
    assert str(support.eventually(lambda: "yes", "yes")) == "0 s (0 s given)"


def event(kind: str, host: str, task: str, **result: Any) -> dict[str, Any]:
    return {"event": f"runner_on_{kind}", "event_data": {"host": host, "task": task, "res": result}}


def test_what_was_planned_and_what_was_made(support: ModuleType) -> None:
    events = [
        event(
            "ok",
            "spark1",
            "apply | Show the planned changes",
            changed=True,
            planned=["Write a | b: x", "Restart Docker"],
        ),
        event("ok", "spark2", "apply | Show the planned changes", changed=False, planned=[]),
        event("ok", "spark1", "change | Write a | b", changed=True),
        event("ok", "spark1", "sparkops.dgx_spark.container_toolkit : Restart Docker", changed=True),
        event("ok", "spark2", "change | Read the links", changed=False),
        event("skipped", "spark2", "change | Write a | b", changed=True),
    ]
    run = support.Run("successful", {}, events, "")
    assert run.planned() == {"spark1": {"Write a | b", "Restart Docker"}}
    del events[0]
    assert run.made() == {"spark1": {"Write a | b", "Restart Docker"}}


def test_what_a_role_registered_is_found_by_its_name(support: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    tasks = tmp_path / "roles" / "one" / "tasks"
    tasks.mkdir(parents=True)
    (tasks / "verify.yml").write_text("- block:\n    - {name: verify | Judge, register: one_report}\n")
    monkeypatch.setattr(support, "ROOT", tmp_path)
    events = [
        event("ok", "spark1", "verify | Judge", bytes=1),
        event("ok", "spark1", "role : verify | Judge", bytes=2),
        event("ok", "spark1", "verify | Another", bytes=3),
    ]
    run = support.Run("successful", {}, events, "")
    assert run.registered("one_report") == {"spark1": {"bytes": 2}}
    with pytest.raises(AssertionError, match="no role registers two_report"):
        run.registered("two_report")


def names_in(tasks: Any) -> Iterator[str]:
    """The names of all tasks of a YAML file, those in blocks and plays too."""
    for one in tasks if isinstance(tasks, list) else []:
        if isinstance(one, dict):
            yield one.get("name", "")
            for part in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
                yield from names_in(one.get(part))


def text(node: ast.expr | None) -> str:
    """The text of a literal; nothing where it is no such text."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def asked_for(program: ast.Module) -> Iterator[str]:
    """The tasks that a test names: for whose results it asks, or at which something is to happen."""
    constants: dict[str, str] = {}
    for statement in program.body:
        if isinstance(statement, ast.Assign):
            constants |= {
                target.id: text(statement.value) for target in statement.targets if isinstance(target, ast.Name)
            }
    for node in ast.walk(program):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            for name in {"results": node.args[:1], "at_task": node.args[1:2]}.get(called, []):
                yield constants[name.id] if isinstance(name, ast.Name) else text(name)


@pytest.fixture(scope="module")
def tasks() -> set[str]:
    """The names of all tasks of the roles and the playbooks."""
    files = (file for pattern in ("roles/*/*/*.yml", "playbooks/*.yml") for file in ROOT.glob(pattern))
    return {name for file in files for name in names_in(yaml.safe_load(file.read_text()))}


TESTS = sorted(path for part in ("e2e", "bench") for path in (ROOT / "tests" / part).glob("*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_every_task_that_a_test_names_is_there(path: Path, tasks: set[str]) -> None:
    program = ast.parse(path.read_text())
    own = {
        text(value)
        for node in ast.walk(program)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values)
        if text(key) == "name"
    }
    named = list(asked_for(program))
    assert "" not in named
    assert [name for name in named if not any(task.endswith(name) for task in tasks | own)] == []


@pytest.fixture(scope="module")
def variables() -> set[str]:
    """The options of all roles and what they register, with the options that several roles share."""
    known: set[str] = set()
    for role in (*ROOT.glob("roles/*"), *ROOT.glob("lab/roles/*")):
        specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
        known |= {option for spec in specs.values() for option in spec.get("options", {})}
        for path in (*role.glob("tasks/*.yml"), *role.glob("defaults/*.yml")):
            known |= {name for pair in re.findall(r"register: (\w+)|\b(spark_\w+)", path.read_text()) for name in pair}
    for path in (*ROOT.glob("playbooks/*.yml"), *ROOT.glob("playbooks/tasks/*.yml"), *ROOT.glob("lab/playbooks/*.yml")):
        known |= set(re.findall(r"\b(?:virtual_)?spark_\w+", path.read_text()))
    return known


ROLES = "|".join(sorted(path.name for path in (ROOT / "roles").iterdir()))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_every_variable_that_a_test_sets_is_there(path: Path, variables: set[str]) -> None:
    """Ansible says nothing of a variable that no role reads."""
    named = set(re.findall(rf"\b_*(?:{ROLES}|spark|virtual_spark)_[a-z_]+\b", path.read_text()))
    assert named - variables == set()
