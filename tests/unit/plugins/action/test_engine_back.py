# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts have registered decides whether what served before is put back, and the play fails with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action import engine_back_plan, engine_back_report
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError

PAIR = ["spark1", "spark2"]
KEPT = {"kept": True, "why": "", "repo": "lab/a", "was_stopped": False}
REASON = {"failed": True, "msg": "spark1 does not serve lab/b"}


def planned(hostvars: dict[str, Any], launcher: str = "docker") -> dict[str, Any]:
    plugin = engine_back_plan.ActionModule.__new__(engine_back_plan.ActionModule)
    asked = {
        "plan": {"launcher": launcher, "last_good": "aa"},
        "members": PAIR,
        "keys_lost": False,
        "reached": "reached",
        "kept": "kept",
    }
    return plugin.plan(asked, {"hostvars": {**hostvars, "other": {}}})


def said(back: dict[str, Any], problems: list[str]) -> str:
    plugin = engine_back_report.ActionModule.__new__(engine_back_report.ActionModule)
    with pytest.raises(PlanError) as error:
        plugin.plan({"back": back, "members": PAIR, "problems": problems}, {})
    return str(error.value)


def test_a_serving_that_every_spark_has_kept_comes_back() -> None:
    found = planned(
        {
            "spark1": {"reached": {"msg": "spark1"}, "kept": KEPT, "ansible_failed_result": REASON},
            "spark2": {"reached": {"msg": "spark2"}, "kept": KEPT},
        }
    )
    assert found == {
        "why": "spark1 does not serve lab/b.",
        "silent": [],
        "can_go_back": True,
        "not_kept": [],
        "was": "lab/a",
        "was_stopped": False,
        "to_former": False,
        "former": {},
    }
    assert said(found, []) == (
        "spark1 does not serve lab/b. lab/a serves again on spark1, spark2, as before: mend what the reason names, and "
        "run this again."
    )
    assert said(found, ["it gave up"]).endswith("lab/a was put back, and does not serve either: it gave up.")


@pytest.mark.parametrize("launcher", ["docker", "swarm"])
@pytest.mark.parametrize("variables", [{}, {"reached": {"msg": "Failed to connect", "unreachable": True}}])
def test_of_a_leader_that_cannot_be_reached_nothing_need_be_registered(
    launcher: str, variables: dict[str, Any]
) -> None:
    found = planned({"spark1": variables, "spark2": {"reached": {"msg": "spark2"}, "kept": KEPT}}, launcher)
    assert found["silent"] == ["spark1"]
    assert said(found, []) == "spark1 cannot be reached. Nothing was put back: spark1 cannot be reached."
