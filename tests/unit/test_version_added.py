# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module says since which version it is there, and all say it in the same way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from packaging.version import Version
from roles_support import ROOT

COLLECTIONS = [ROOT, ROOT / "lab"]
MODULES = [(root, path) for root in COLLECTIONS for path in sorted((root / "plugins" / "modules").glob("*.py"))]


@pytest.mark.parametrize(("root", "path"), MODULES, ids=lambda value: value.stem)
def test_a_module_says_since_when_it_is_there(root: Path, path: Path) -> None:
    """The version alone, without quotes, which YAML does not need around three numbers."""
    said = [line for line in path.read_text().splitlines() if line.startswith("version_added")]
    assert len(said) == 1
    assert re.fullmatch(r"version_added: \d+\.\d+\.\d+", said[0]), said[0]
    released = yaml.safe_load((root / "galaxy.yml").read_text())["version"]
    assert Version(said[0].partition(": ")[2]) <= Version(released)
