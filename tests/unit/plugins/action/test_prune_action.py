# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pruning is planned of what all Sparks told, and shown; the tasks of the playbook do what it lists."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.action import prune_plan
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._prune.plan import REMOVE
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError

PLAYBOOK = yaml.safe_load((Path(__file__).parents[4] / "playbooks" / "prune.yml").read_text())
PLACE = {"device": 1, "mount": "/", "free_bytes": 10**9}
MODEL = {"repo": "lab/old", "bytes": 10**9, "last_used": 1.0, "noted": True, "busy": False}
TOLD = {
    "models": [MODEL],
    "images": [],
    "needed": {"models": {}, "images": {}},
    "filesystems": {"cache": PLACE},
    "now": 9e5,
}


def planned(**asked: Any) -> dict[str, Any]:
    plugin = prune_plan.ActionModule.__new__(prune_plan.ActionModule)
    plugin._task = SimpleNamespace(check_mode=False)
    options = {name: one.get("default") for name, one in prune_plan.ActionModule.SPEC.items()}
    return plugin.plan({**options, "members": {"spark1": TOLD}, **asked}, {})


def test_what_is_asked_for_is_planned_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(free_gb=1.5, served={"": "spark_model"})
    assert found["remove"] == {"spark1": {"models": [{"repo": "lab/old", "bytes": 10**9}], "images": []}}
    assert [(one["name"], one["of"]) for one in found["changes"]["spark1"]] == [("Remove the model", "lab/old")]
    assert "removes model lab/old (1.00 GB, last used 10 days ago)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "Nothing is asked for"),
        ({"keep": ["lab/old"]}, "Nothing is asked for"),
        ({"free_gb": -1.0}, "prune_free_gb is -1: give 0 or more"),
        ({"models": ["lab/old"], "members": {"spark1": TOLD, "spark2": {}}}, "nothing is known of spark2"),
    ],
)
def test_what_cannot_be_planned_is_refused(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanError, match=rf"{says}.*Nothing was changed\."):
        planned(**asked)


def test_the_playbook_removes_by_the_plan_alone_and_not_in_a_dry_run() -> None:
    tasks = {task["name"]: task for task in PLAYBOOK[1]["tasks"]}
    for kind, name in REMOVE.items():
        assert tasks[name]["loop"] == "{{ __prune_removed." + kind + "s }}"
        assert tasks[name]["when"] == "not ansible_check_mode"
