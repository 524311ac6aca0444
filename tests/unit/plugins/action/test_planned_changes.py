# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan's changes are shown by name and as a diff, and count as changes in check mode alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action.planned_changes import ActionModule, PlanError

CHANGES: dict[str, Any] = {
    "spark1": [{"name": "Write the file", "diff": {"before": "a\n", "after": "b\n"}}, {"name": "Restart Docker"}],
    "spark2": [],
}


def shown(host: str, check_mode: bool, *plans: dict[str, Any]) -> dict[str, Any]:
    plugin = ActionModule.__new__(ActionModule)
    plugin._task = SimpleNamespace(check_mode=check_mode)
    asked = {"changes": {} if plans else CHANGES, "plans": list(plans), "role": "", "entry_point": "apply"}
    return plugin.plan(asked, {"inventory_hostname": host})


def test_names_and_diffs() -> None:
    found = shown("spark1", check_mode=True)
    assert found["planned"] == ["Write the file", "Restart Docker"]
    assert found["diff"] == [
        {"before_header": "Write the file", "after_header": "Write the file", "before": "a\n", "after": "b\n"},
        {"prepared": "Restart Docker\n"},
    ]


@pytest.mark.parametrize(
    ("host", "check_mode", "changed"), [("spark1", True, True), ("spark1", False, False), ("spark2", True, False)]
)
def test_counts_in_check_mode_alone(host: str, check_mode: bool, changed: bool) -> None:
    assert shown(host, check_mode)["changed"] is changed


def test_what_a_change_is_of_is_told_where_there_are_several() -> None:
    both = [{"name": "Copy", "of": "a/b", "diff": {"before": "", "after": "x\n"}}, {"name": "Copy", "of": "c/d"}]
    found = shown("spark1", True, {"changes": {"spark1": both}})
    assert found["planned"] == ["Copy: a/b", "Copy: c/d"]
    assert found["diff"][0]["after_header"] == "Copy: a/b"
    assert found["diff"][1] == {"prepared": "Copy: c/d\n"}


def test_a_host_without_a_plan_is_named() -> None:
    with pytest.raises(PlanError, match="spark9 is in no plan, which is for spark1, spark2"):
        shown("spark9", check_mode=True)


def test_several_plans_are_one_list_in_their_order() -> None:
    later = {"changes": {"spark1": [{"name": "Start the unit"}], "spark2": [{"name": "Start the unit"}]}, "key": "x"}
    none = {"changes": {}}
    assert shown("spark1", True, {"changes": CHANGES}, none, later)["planned"] == [
        "Write the file",
        "Restart Docker",
        "Start the unit",
    ]
    assert shown("spark2", True, {"changes": CHANGES}, none, later)["planned"] == ["Start the unit"]
    with pytest.raises(PlanError, match="which is for no host"):
        shown("spark1", True, none)


def of_role(check_mode: bool, variables: dict[str, Any]) -> dict[str, Any]:
    plugin = ActionModule.__new__(ActionModule)
    plugin._task = SimpleNamespace(check_mode=check_mode)
    plugin._templar = SimpleNamespace(template=lambda value: value)
    asked = {"changes": {}, "plans": [], "role": "cx7_network", "entry_point": "configure"}
    return plugin.plan(asked, {"inventory_hostname": "spark1", **variables})


def test_a_role_s_own_plan_shows_diffs_in_check_mode_alone() -> None:
    variables = {"cx7_network_plan": {"changes": CHANGES}}
    dry, real = (of_role(check_mode, variables) for check_mode in (True, False))
    assert (dry["planned"], dry["changed"], len(dry["diff"])) == (["Write the file", "Restart Docker"], True, 2)
    assert (real["planned"], real["changed"], real["diff"]) == (dry["planned"], False, [])


def test_a_role_that_has_not_planned_is_told_so() -> None:
    with pytest.raises(PlanError) as refused:
        of_role(False, {})
    assert str(refused.value) == (
        "Run the entry point plan of the role cx7_network before configure, in the same play. Nothing was changed."
    )
