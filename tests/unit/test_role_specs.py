# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role says of its variables is what it does: defaults equal argument_specs, names carry the role's name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROLES = sorted(path for roles in ("roles", "lab/roles") for path in (ROOT / roles).iterdir() if path.is_dir())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_equal_argument_specs(role: Path) -> None:
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    described: dict[str, object] = {}
    for entry in specs.values():
        for name, option in entry["options"].items():
            assert option.get("description"), f"{name} is not described"
            if not option.get("required"):
                assert described.setdefault(name, option["default"]) == option["default"], f"{name} has two defaults"
    assert described == defaults


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_variables_carry_the_roles_name(role: Path) -> None:
    for place in ("defaults", "vars"):
        path = role / place / "main.yml"
        names = yaml.safe_load(path.read_text()) if path.exists() else {}
        assert [name for name in names if not name.lstrip("_").startswith(f"{role.name}_")] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_variable_is_in_the_readme(role: Path) -> None:
    readme = (role / "README.md").read_text()
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    assert [name for name in defaults if f"`{name}`" not in readme] == []
