# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The name of a task or a play makes sense alone, in a log: it leans on no word that stands for something else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from roles_support import PLAYBOOKS, ROLES_AND_LAB, ROOT, plays_of, tasks_in, tasks_of

LEANING = re.compile(r"\b(it|them|they|those|somebody|nobody)\b", re.IGNORECASE)
FILES = [*ROLES_AND_LAB, *PLAYBOOKS]


def names(path: Path) -> list[str]:
    """The names of a role's tasks and handlers, or of a playbook's plays and tasks, each after its file."""
    if path.is_dir():
        return [str(task) for task in tasks_of(path) if task.name]
    plays = [f"{path.relative_to(ROOT)}: {play.get('name', '')}" for play in plays_of(path)]
    return plays + [str(task) for task in tasks_in(path) if task.name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_make_sense_alone(path: Path) -> None:
    assert [name for name in names(path) if LEANING.search(name.partition(": ")[2])] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_has_a_name(path: Path) -> None:
    tasks = tasks_of(path) if path.is_dir() else tasks_in(path)
    unnamed = [str(task) for task in tasks if not task.name]
    if path.is_file():
        unnamed += [name for name in names(path) if name.endswith(": ")]
    assert unnamed == []


@pytest.mark.parametrize("role", ROLES_AND_LAB, ids=lambda role: role.name)
def test_a_task_name_begins_with_its_files_name(role: Path) -> None:
    wrong = []
    for task in tasks_of(role):
        in_main = task.path.stem == "main" or task.path.parent.name == "handlers"
        if task.name and (" | " in task.name if in_main else not task.name.startswith(f"{task.path.stem} | ")):
            wrong.append(str(task))
    assert wrong == []


@pytest.mark.parametrize("role", ROLES_AND_LAB, ids=lambda role: role.name)
def test_no_two_tasks_of_a_file_have_one_name(role: Path) -> None:
    seen: set[tuple[Path, str]] = set()
    twice = []
    for task in tasks_of(role):
        if task.name and (task.path, task.name) in seen:
            twice.append(str(task))
        seen.add((task.path, task.name))
    assert twice == []
