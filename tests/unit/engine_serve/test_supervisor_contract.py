# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract between the supervisor and the collection is written once."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from supervisor_support import IMAGE

ROOT = Path(__file__).parents[3]
SUPERVISOR = IMAGE / "supervisor"
PHASES = {
    value
    for name, value in vars(contract).items()
    if name in ("WAITING", "STARTING", "SERVING", "FAILED", "GAVE_UP", "STOPPED", "LISTENING")
}
READERS = [
    path
    for path in [*SUPERVISOR.rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    if path.name != "contract.py" and (path.is_relative_to(SUPERVISOR) or "engine" in str(path.relative_to(ROOT)))
]


@pytest.mark.parametrize("place", ["_engine/contract.py", "_fabric/verbs.py", "_doctor/redact.py"])
def test_what_both_read_is_one_file(place: str) -> None:
    link = SUPERVISOR / Path(place).name
    assert link.is_symlink()
    assert link.resolve() == (ROOT / "plugins" / "module_utils" / place).resolve()


@pytest.mark.parametrize("path", READERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_restates_a_phase(path: Path) -> None:
    words = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    foreign = set() if path.is_relative_to(SUPERVISOR) else {contract.FAILED}  # systemd and Ansible use that word too
    assert not words & (PHASES - foreign)


@pytest.mark.parametrize(
    ("words", "status"), [([], 2), (["nonsense"], 2), (["rank", "--"], 2), (["health"], 0), (["health", "x"], 2)]
)
def test_the_programs_words(words: list[str], status: int) -> None:
    done = subprocess.run([sys.executable, str(IMAGE / "entrypoint.py"), *words], capture_output=True, check=False)
    assert done.returncode == status
