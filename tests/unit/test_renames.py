# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A name that users of the first commits may have typed is still there, or the changelog says what has become of it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from roles_support import ROLES, ROLES_AND_LAB, ROOT, registers, specs

FIRST: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "fixtures/names_of_the_first_commits.yml").read_text())
RELEASES = yaml.safe_load((ROOT / "changelogs" / "changelog.yaml").read_text())["releases"]
BREAKING: list[str] = [line for one in RELEASES.values() for line in one["changes"].get("breaking_changes", [])]
FRAGMENTS = sorted((ROOT / "changelogs" / "fragments").glob("*.yml"))
NAME = re.compile(r"``([^`]+)``")
PRODUCT = [path for part in ("plugins", "roles", "playbooks") for path in (ROOT / part).rglob("*") if path.is_file()]
MODULES = {path.stem: path for path in sorted((ROOT / "plugins" / "modules").glob("*.py"))}
LAB = {"virtual_spark", "virtual_spark_info"}


def named(*names: str) -> bool:
    """Whether one line of the breaking changes holds all of these names."""
    return any(set(names) <= set(NAME.findall(line)) for line in BREAKING)


def options_and_values(path: Path) -> set[str]:
    """The names of a module's options, those of its documentation fragments included, and of what it returns."""
    text = path.read_text()
    documentation = yaml.safe_load(text.partition('DOCUMENTATION = r"""')[2].partition('"""')[0])
    found = {*documentation.get("options", {}), *yaml.safe_load(text.partition('RETURN = r"""')[2].partition('"""')[0])}
    own = "sparkops.dgx_spark."
    fragments = [full for full in documentation.get("extends_documentation_fragment", []) if full.startswith(own)]
    for full in fragments:
        name, _dot, part = full.removeprefix(own).partition(".")
        fragment = importlib.import_module(f"ansible_collections.sparkops.dgx_spark.plugins.doc_fragments.{name}")
        more = yaml.safe_load(getattr(fragment.ModuleDocFragment, part.upper() or "DOCUMENTATION"))
        found |= set(more.get("options", {}))
    return found


def test_every_first_variable_is_there_or_named() -> None:
    there = {name for role in ROLES_AND_LAB for spec in specs(role).values() for name in spec.get("options", {})}
    first = [f"{role}_{name}" for role, names in FIRST["variables"].items() for name in names]
    assert len(first) > 100
    assert [name for name in first if name not in there and not named(name)] == []


def test_every_first_entry_point_is_there_or_named() -> None:
    there = {(role.name, entry) for role in ROLES_AND_LAB for entry in specs(role)}
    first = [(role, entry) for role, entries in FIRST["entry_points"].items() for entry in entries]
    gone = [one for one in first if one not in there]
    assert [(role, entry) for role, entry in gone if not named(entry) or role not in " ".join(BREAKING)] == []


def test_every_first_role_and_playbook_is_there_or_named() -> None:
    there = {role.name for role in ROLES} | {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    first = FIRST["roles"] + FIRST["playbooks"]
    assert [name for name in first if name not in there and not named(name)] == []


def test_every_first_register_is_there_or_named() -> None:
    there = {name for role in ROLES for name in registers(role)}
    assert [name for name in FIRST["registers"] if name not in there and not named(name)] == []


@pytest.mark.parametrize("module", FIRST["modules"])
def test_every_first_module_and_option_is_there_or_named(module: str) -> None:
    if module not in MODULES:
        assert named(module)
        return
    there = options_and_values(MODULES[module])
    assert [name for name in FIRST["modules"][module] if name not in there and not named(module, name)] == []


def test_every_first_name_on_hosts_is_there_or_named() -> None:
    texts = [path.read_text(errors="replace") for path in PRODUCT]
    first = FIRST["on_hosts"]
    assert [name for name in first if not named(name) and not any(name in text for text in texts)] == []


def test_every_new_name_in_the_breaking_changes_is_there() -> None:
    words = {word for path in PRODUCT for word in re.findall(r"\w+", path.read_text(errors="replace"))} | set(MODULES)
    old = {word for one in FIRST.values() for word in re.findall(r"\w+", str(one))} | LAB
    old |= {f"{role}_{name}" for role, names in FIRST["variables"].items() for name in names}
    written = {name for line in BREAKING for name in NAME.findall(line) if re.fullmatch(r"[a-z]\w*_\w+", name)}
    assert len(written) > 100
    assert sorted(written - words - old) == []


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda path: path.stem)
def test_the_changelog_has_every_fragment(fragment: Path) -> None:
    version = fragment.stem.rpartition("-")[0]
    changes = RELEASES[version]["changes"]
    text = re.sub(r"\\(.)", r"\1", (ROOT / "CHANGELOG.md").read_text())
    text = " ".join(re.sub(r"</?code>", "``", text).split())
    for section, lines in yaml.safe_load(fragment.read_text()).items():
        for line in [lines] if isinstance(lines, str) else lines:
            assert line in changes[section], f"run make changelog: {line}"
            assert line in text, f"run make changelog: {line}"


def test_the_changelog_has_every_module() -> None:
    listed = {module["name"] for one in RELEASES.values() for module in one.get("modules", [])}
    assert sorted(listed) == sorted(MODULES), "run make changelog"
