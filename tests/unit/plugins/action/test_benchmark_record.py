# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a benchmark's result says of the Sparks afterwards, and whether it is still good then."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action import benchmark_record
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError
from benchmark_cases import result
from status_cases import pair

AFTER = "spark_after"


def record(path: Path, members: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """Record that these hosts were found afterwards."""
    plugin = benchmark_record.ActionModule.__new__(benchmark_record.ActionModule)
    plugin._task = SimpleNamespace(check_mode=check)
    asked = {"file": str(path), "members": list(members), "status": AFTER}
    return plugin.plan(asked, {"hostvars": {name: {AFTER: found} for name, found in members.items()}})


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**result(), "after": None}))
    return path


def test_what_was_left_alone_is_good(measured: Path) -> None:
    assert record(measured, pair()) == {"good": True, "meanwhile": []}
    assert json.loads(measured.read_text())["after"]["serving"]


def test_an_engine_that_tells_nothing_afterwards_is_named(measured: Path) -> None:
    told = record(measured, {name: {} for name in pair()})
    assert told == {"good": False, "meanwhile": ["nothing tells of the engine after the benchmark"]}
    assert json.loads(measured.read_text())["good"] is False


def test_check_mode_writes_nothing(measured: Path) -> None:
    before = measured.read_text()
    assert record(measured, pair(), check=True)["good"] is True
    assert measured.read_text() == before


def test_a_result_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{")
    with pytest.raises(PlanError, match=f"the state after the benchmark is not in {path}"):
        record(path, pair())
