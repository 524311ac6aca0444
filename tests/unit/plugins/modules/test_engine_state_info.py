# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a supervisor's state, and of the Swarm's tasks, is past."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.modules import engine_state_info

SERVING = {"phase": "serving", "config": "told", "began": 17.5, "ranks": {}}


class Swarm:
    """SIMULATED: one whose worker was rejected twice, an hour after the epoch."""

    def ask(self, _method: str, path: str) -> list[dict[str, Any]]:
        status = {"State": "rejected", "Err": "No such image: sha256:12", "Timestamp": "1970-01-01T01:00:00.5Z"}
        return {
            "/tasks": [{"ServiceID": "s", "NodeID": "n", "Status": status, "DesiredState": "shutdown"}] * 2,
            "/services": [{"ID": "s", "Spec": {"Name": "trtllm_worker"}}],
            "/nodes": [{"ID": "n", "Description": {"Hostname": "spark2"}}],
        }[path]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr(engine_state_info, "Docker", Swarm)
    path = tmp_path / "state.json"

    def run(state: dict[str, Any], **options: Any) -> dict[str, Any]:
        path.write_text(json.dumps(state))
        wanted = {"path": str(path), "config_digest": "told", "members": ["spark1"], "require_rdma": False, **options}
        with patch_module_args(wanted), pytest.raises(SystemExit):
            engine_state_info.main()
        return json.loads(capsys.readouterr().out)

    return run


@pytest.mark.parametrize(("since", "settled"), [({}, False), ({"since": 3000}, True), ({"since": 4000}, False)])
def test_what_the_swarm_refused_before_does_not_count(told: Any, since: dict[str, int], settled: bool) -> None:
    found = told({"phase": "waiting", "config": "told"}, stack="trtllm", **since)
    assert found["settled"] == settled
    assert ("No such image" in " ".join(found["problems"])) == settled


@pytest.mark.parametrize(("past", "settled"), [(0, True), (17.5, False)])
def test_a_supervisor_that_is_past_does_not_count(told: Any, past: float, settled: bool) -> None:
    assert told(SERVING, ignore_started_at=past)["settled"] == settled
