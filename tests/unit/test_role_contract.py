# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All roles keep one contract: the same entry points, one plan and one report, and nothing else that others read."""

from __future__ import annotations

import importlib
import json
import re
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import add_fragments
from roles_support import (
    PLAYBOOKS,
    ROLES,
    ROLES_AND_LAB,
    ROOT,
    Task,
    files_of,
    names_in,
    registers,
    specs,
    tasks_in,
    tasks_of,
)

ENTRY_POINTS = ("main", "plan", "apply", "verify", "undo")
ACTIONS = "ansible_collections.sparkops.dgx_spark.plugins.action"
every_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def interface(role: Path) -> set[str]:
    """What others may read of a role."""
    return {f"{role.name}_plan", f"{role.name}_report"}


def entry(role: Path, name: str) -> list[Task]:
    """The tasks of one file."""
    return [task for task in tasks_of(role) if task.path == role / "tasks" / f"{name}.yml"]


@every_role
def test_a_role_has_all_entry_points_and_describes_each(role: Path) -> None:
    assert [name for name in ENTRY_POINTS if not (role / "tasks" / f"{name}.yml").is_file()] == [], "no task file"
    assert [name for name in ENTRY_POINTS if name not in specs(role)] == [], "no argument spec"
    assert [name for name in specs(role) if not (role / "tasks" / f"{name}.yml").is_file()] == [], "a spec of nothing"
    assert [name for name, spec in specs(role).items() if not spec.get("short_description")] == [], "not described"


@every_role
def test_the_readme_names_every_entry_point_and_no_other(role: Path) -> None:
    readme = (role / "README.md").read_text()
    places = re.findall(r"^\W*Entry points?\b.*?(?=^#|\Z)", readme, flags=re.MULTILINE | re.DOTALL | re.I)
    assert places, "no part of the README begins with: Entry points"
    named = {word for place in places for word in re.findall(r"`([a-z_]+)`", place)}
    files = {path.stem for path in (role / "tasks").glob("*.yml")}
    assert sorted(set(specs(role)) - named) == [], "not in the README"
    assert sorted(named & files - set(specs(role))) == [], "in the README, and without an argument spec"


@every_role
def test_a_role_registers_and_documents_its_plan_and_its_report(role: Path) -> None:
    assert sorted(interface(role) - registers(role)) == [], "never registered"
    readme = (role / "README.md").read_text()
    assert [name for name in sorted(interface(role)) if f"`{name}`" not in readme] == [], "not in the README"


@every_role
def test_a_role_registers_nothing_else_for_others(role: Path) -> None:
    private = f"__{role.name}_"
    assert sorted(name for name in registers(role) - interface(role) if not name.startswith(private)) == []


@every_role
def test_a_role_reads_nothing_of_another_but_its_plan_and_its_report(role: Path) -> None:
    read = []
    for other in ROLES:
        if other == role:
            continue
        closed = registers(other) - interface(other)
        for path in files_of(role):
            names = {name for name in names_in(path) if name in closed or name.startswith(f"__{other.name}_")}
            read += [f"{path.relative_to(ROOT)} reads {name}" for name in sorted(names)]
    assert read == []


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_a_playbook_reads_nothing_of_a_role_but_its_plan_and_its_report(playbook: Path) -> None:
    closed = {name for role in ROLES for name in registers(role) - interface(role)}
    private = tuple(f"__{role.name}_" for role in ROLES)
    assert sorted(name for name in names_in(playbook) if name in closed or name.startswith(private)) == []


@every_role
def test_the_members_are_checked_first(role: Path) -> None:
    first = next(task for task in entry(role, "plan") if task.module)
    assert (first.module, first.data.get("register")) == (
        "sparkops.dgx_spark.spark_members_check",
        f"__{role.name}_members",
    )


@every_role
def test_apply_requires_the_plan_of_the_same_play(role: Path) -> None:
    """planned_changes fails without a plan; what may come before is a further planning round."""
    tasks = [task for task in entry(role, "apply") if task.module]
    shown = next(index for index, task in enumerate(tasks) if task.module == "sparkops.dgx_spark.planned_changes")
    assert (tasks[shown].arguments, tasks[shown].data.get("when")) == ({"role": role.name}, None)
    before = [
        task for task in tasks[:shown] if not str(task.data["when"]).startswith(f"{role.name}_plan is defined and ")
    ]
    assert before == []


@every_role
def test_verify_requires_the_plan_of_the_same_play(role: Path) -> None:
    asserted = [task.arguments for task in entry(role, "verify") if task.module == "ansible.builtin.assert"]
    says = " ".join(str(one.get("fail_msg", "")) for one in asserted)
    assert any(f"{role.name}_plan is defined" in str(one["that"]) for one in asserted)
    assert f"Run the entry point plan of the role {role.name} before verify, in the same play" in " ".join(says.split())


@every_role
def test_verify_takes_no_earlier_plan_for_applied(role: Path) -> None:
    """A registered result lasts for the whole run, so that its being there says nothing of the plan of this play."""
    asserted = [task.arguments for task in entry(role, "verify") if task.module == "ansible.builtin.assert"]
    assert [one["that"] for one in asserted if re.search(r"\b__\w+ is defined", str(one["that"]))] == []


@every_role
def test_a_dry_run_of_apply_shows_the_planned_changes_and_no_more(role: Path) -> None:
    harmless = ("replan.yml", "report.yml")  # plan and report on the controller
    rest = [
        task
        for task in entry(role, "apply")
        if task.module
        and not task.module.endswith((".planned_changes", ".include_role"))
        and task.arguments not in harmless
    ]
    nothing = f"{role.name}_plan.changes.values() | flatten | length == 0"  # what is looked at then changes nothing
    when = {task.short: str(task.data.get("when")) for task in rest}
    assert [name for name, text in when.items() if "ansible_check_mode" not in text and text != nothing] == []


@every_role
def test_changes_carry_the_names_of_the_tasks_that_make_them(role: Path) -> None:
    planners = {
        task.module.rpartition(".")[2] for task in tasks_of(role) if task.data.get("register") == f"{role.name}_plan"
    }
    assert planners, f"{role.name}_plan comes from no planner"
    modules = [importlib.import_module(f"{ACTIONS}.{planner}") for planner in planners]
    assert [module.__name__ for module in modules if not hasattr(module, "CHANGES")] == [], (
        "no CHANGES that it can list"
    )
    named = {task.short for one in ROLES for task in tasks_of(one)}
    assert [name for module in modules for name in module.CHANGES if name not in named] == [], "no task of that name"


@every_role
def test_no_task_stands_twice_with_the_same_arguments(role: Path) -> None:
    """What a plan asks and an apply does is written once, as a variable; an undo has an order of its own."""
    shown_twice = ("planned_changes", "meta", "fail")
    found = defaultdict(list)
    for task in tasks_of(role):
        verb = task.module.rpartition(".")[2]
        said_once = isinstance(task.arguments, str) or verb.startswith(("include_", "import_")) or verb in shown_twice
        if task.arguments and not said_once and task.path.stem != "undo":
            found[task.module, json.dumps(task.arguments, sort_keys=True)].append(str(task))
    assert [tasks for tasks in found.values() if len(tasks) > 1] == []


#: that a Spark does not answer is what these tell
TELL = {("status.yml", "ignore_unreachable"), ("doctor_read.yml", "ignore_unreachable")}


def test_nothing_is_done_by_shortcuts() -> None:
    everything = [task for role in ROLES_AND_LAB for task in tasks_of(role)]
    everything += [task for playbook in PLAYBOOKS for task in tasks_in(playbook)]
    everything += [task for file in (ROOT / "playbooks" / "tasks").glob("*.yml") for task in tasks_in(file)]
    modules = ("ansible.builtin.set_fact", "ansible.builtin.shell", "ansible.builtin.raw")
    keywords = ("ignore_errors", "ignore_unreachable", "run_once")
    wrong = [
        str(task)
        for task in everything
        if task.module in modules
        or any(keyword in task.data for keyword in keywords if (task.path.name, keyword) not in TELL)
        or task.data.get("failed_when") is False
    ]
    assert wrong == []


def options_of(module: str) -> set[str]:
    """The options that a module of this collection documents, those of its fragments too."""
    code = importlib.import_module(f"ansible_collections.sparkops.dgx_spark.plugins.modules.{module}")
    about = yaml.safe_load(code.DOCUMENTATION)
    add_fragments(about, code.__file__, fragment_loader)
    return set(about.get("options", {}))


@every_role
def test_a_task_gives_a_module_only_options_that_it_has(role: Path) -> None:
    """A module refuses an unknown option, and an undo may run where nobody has tried all of it."""
    ours = [task for task in tasks_of(role) if task.module.startswith("sparkops.dgx_spark.")]
    unknown = [
        f"{task} gives {option}"
        for task in ours
        if isinstance(task.arguments, dict)
        for option in sorted(set(task.arguments) - options_of(task.module.rpartition(".")[2]))
    ]
    assert unknown == []
