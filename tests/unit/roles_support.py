# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles and playbooks of this repository as data, for tests of what all of them promise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import yaml
from ansible.playbook.handler import Handler

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.parent for path in (ROOT / "roles").glob("*/tasks"))
#: those that make a lab are no roles for Sparks, but their words are as plain
ROLES_AND_LAB = [*ROLES, *sorted(path.parent for path in (ROOT / "lab" / "roles").glob("*/tasks"))]
PLAYBOOKS = sorted([*(ROOT / "playbooks").glob("*.yml"), *(ROOT / "lab" / "playbooks").glob("*.yml")])
BLOCKS = ("block", "rescue", "always")
#: what a task has beside the module that it runs
KEYWORDS = frozenset([*Handler.fattributes, "local_action"])


@dataclass(frozen=True)
class Task:
    """A task, a handler or a block, and the file that it stands in."""

    path: Path
    data: dict[str, Any]

    @property
    def name(self) -> str:
        return self.data.get("name", "")

    @property
    def module(self) -> str:
        """Its module's full name; empty for a block."""
        return next((key for key in self.data if key not in KEYWORDS and key not in BLOCKS), "")

    @property
    def arguments(self) -> Any:
        return self.data.get(self.module)

    @property
    def short(self) -> str:
        """Its name without its file's prefix."""
        return self.name.removeprefix(f"{self.path.stem} | ")

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}: {self.name or self.module}"


def flat(path: Path, tasks: list[dict[str, Any]] | None) -> Iterator[Task]:
    """Tasks, those in blocks too, and the blocks."""
    for data in tasks or []:
        yield Task(path, data)
        for part in BLOCKS:
            yield from flat(path, data.get(part))


def tasks_of(role: Path) -> list[Task]:
    """The tasks and handlers of a role."""
    paths = [*sorted((role / "tasks").rglob("*.yml")), *sorted((role / "handlers").glob("*.yml"))]
    return [task for path in paths for task in flat(path, yaml.safe_load(path.read_text()))]


def plays_of(playbook: Path) -> list[dict[str, Any]]:
    return yaml.safe_load(playbook.read_text())


def tasks_in(playbook: Path) -> list[Task]:
    """The tasks and handlers that stand in a playbook itself."""
    parts = ("pre_tasks", "tasks", "post_tasks", "handlers")
    return [task for play in plays_of(playbook) for part in parts for task in flat(playbook, play.get(part))]


def registers(role: Path) -> set[str]:
    """The names that a role's tasks register."""
    return {task.data["register"] for task in tasks_of(role) if "register" in task.data}


def specs(role: Path) -> dict[str, Any]:
    """The argument specs of a role, by entry point."""
    return yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]


def text_of(path: Path) -> str:
    """A file without its comment lines: words of people are no reading of a variable."""
    return "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))


def names_in(path: Path) -> set[str]:
    """All that could be a variable's name in a file, also one that a template or a string holds."""
    return set(re.findall(r"\b[a-z_][a-z0-9_]*\b", text_of(path)))


def files_of(role: Path) -> list[Path]:
    """The files of a role in which variables may be read."""
    parts = ("tasks", "handlers", "defaults", "vars", "templates")
    return [path for part in parts for path in sorted((role / part).rglob("*")) if path.is_file()]
