# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What outside tools make of the repository's front door: antsibull-changelog, ansible-builder, pre-commit, make."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
CHANGES = yaml.safe_load((ROOT / "changelogs" / "changelog.yaml").read_text())
VERSION = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]


def program(*argv: str | Path, cwd: Path) -> str:
    """What a program of this environment prints; one that fails is a failed test."""
    done = subprocess.run([BIN / argv[0], *argv[1:]], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def in_one_line(text: Any) -> Any:
    """A text as it is without the line breaks that YAML gives it."""
    return " ".join(text.split()) if isinstance(text, str) else sorted(map(in_one_line, text))


def test_every_fragment_is_in_the_changelog() -> None:
    """Else run: make changelog."""
    told: dict[str, Any] = {}
    for path in sorted((ROOT / "changelogs" / "fragments").glob("*.yml")):
        for section, entries in yaml.safe_load(path.read_text()).items():
            told[section] = entries if isinstance(entries, str) else [*told.get(section, []), *entries]
    written = CHANGES["releases"][VERSION]["changes"]
    assert {section: in_one_line(entries) for section, entries in told.items()} == {
        section: in_one_line(entries) for section, entries in written.items()
    }


def test_every_new_module_is_in_the_changelog() -> None:
    """Else run: make changelog."""
    written = {name["name"] for release in CHANGES["releases"].values() for name in release.get("modules", [])}
    assert written == {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}


def test_the_changelog_is_what_the_tool_makes(tmp_path: Path) -> None:
    """Else run: make changelog."""
    program("antsibull-changelog", "generate", "--output", tmp_path / "CHANGELOG.md", cwd=ROOT)
    assert (ROOT / "CHANGELOG.md").read_text() == (tmp_path / "CHANGELOG.md").read_text()


def test_ansible_builder_takes_the_execution_environment(tmp_path: Path) -> None:
    for name in ("requirements.yml", "meta/ee-requirements.txt", "meta/ee-bindep.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "meta" / "execution-environment.yml", tmp_path)
    program("ansible-builder", "create", "--file", "execution-environment.yml", "--context", "context", cwd=tmp_path)
    build = tmp_path / "context" / "_build"
    assert "netaddr" in (build / "requirements.txt").read_text()
    assert "openssh-client" in (build / "bindep.txt").read_text()
    assert "community.docker" in (build / "requirements.yml").read_text()


def test_ansible_builder_finds_what_the_collection_needs() -> None:
    """As it does for an execution environment of somebody else's that holds the collection."""
    found = program("ansible-builder", "introspect", ROOT / "playbooks" / "collections", cwd=ROOT)
    needs = yaml.safe_load(found[found.index("---") :])
    assert [line.split()[0] for line in needs["python"] if "sparkops.dgx_spark" in line] == [
        "jsonschema>=4.18",
        "netaddr>=1.3",
    ]
    assert any("openssh-client" in line for line in needs["system"])


@pytest.mark.parametrize("hook", yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"])
def test_a_commit_hook_calls_a_target_of_make(hook: dict[str, Any]) -> None:
    program("pre-commit", "validate-config", cwd=ROOT)
    make, target = hook["entry"].split()
    assert (make, hook["language"]) == ("make", "system")
    assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_ci_calls_what_is_there() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert ".ci/run" in commands
    for command in commands:
        name, *targets = command.split()
        if name == "make":
            assert re.search(rf"^{re.escape(targets[0])}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
        else:
            assert (ROOT / name).is_file(), command
