# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What linters do not hold all Python files to: one way to import types, and what a private util says of itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from roles_support import ROOT

PLACES = ("plugins", "roles", "tests", "lab")
FILES = sorted(path for place in PLACES for path in (ROOT / place).rglob("*.py") if not path.is_symlink())
UTILS = sorted(
    path
    for root in (ROOT / "plugins", ROOT / "lab" / "plugins")
    for path in root.glob("*_utils/**/*.py")
    if path.stem != "__init__"
)


def test_types_are_imported_by_name() -> None:
    whole = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import) and any(name.name == "typing" for name in node.names)
    ]
    assert whole == []


@pytest.mark.parametrize("path", UTILS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_util_says_first_what_it_is_for_and_then_that_it_is_private(path: Path) -> None:
    text = path.read_text()
    head = text.partition('"""')[0].splitlines()
    assert [line for line in head if line and not line.startswith(("# Copyright", "# GNU", "# SPDX"))] == []
    kind = "plugin" if "plugin_utils" in path.parts else "module"
    notice = f"This {kind} util is private to the collection."
    said = ast.get_docstring(ast.parse(text)) or ""
    assert notice in said
    assert not said.startswith(notice)
    assert text.count("private to the collection") == 1
