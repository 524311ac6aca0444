# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
#: where the collections of this repository are
COLLECTIONS = {ROOT: "sparkops.dgx_spark", ROOT / "lab": "sparkops.virtual_spark"}
IMAGE = ROOT / "roles" / "engine_serve" / "files" / "image"  # its supervisor is a package of its own
PATHS = [
    *(path for root in COLLECTIONS for path in (root / "plugins" / "module_utils").rglob("*.py")),
    *(IMAGE / "supervisor").rglob("*.py"),
]
WITH_EXAMPLES = sorted(path for path in PATHS if "\n    >>> " in path.read_text())


def loaded(path: Path) -> ModuleType:
    for root, collection in COLLECTIONS.items():
        if path.is_relative_to(root / "plugins"):
            parts = path.relative_to(root).with_suffix("").parts
            return importlib.import_module(".".join(["ansible_collections", collection, *parts]))
    if str(IMAGE) not in sys.path:
        sys.path.insert(0, str(IMAGE))
    return importlib.import_module(".".join(path.relative_to(IMAGE).with_suffix("").parts))


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_examples_in_docstrings_are_true(path: Path) -> None:
    failed, tried = doctest.testmod(loaded(path))
    assert tried
    assert not failed
