# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planners of models and copies run on the controller, and give each host its own facts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action import hf_cache_plan, hf_cache_report, peer_copy_plan

FOUND: dict[str, Any] = {
    "missing": [],
    "corrupt": [],
    "unlinked": [],
    "problems": [],
    "index_problems": [],
    "obstacles": [],
    "ref_missing": False,
    "to_do": False,
    "complete": True,
    "needed_bytes": 0,
    "free_bytes": 0,
    "filesystem": {"device": 1, "mount": "/", "free_bytes": 0},
    "files": 3,
    "bytes": 11002,
    "repo_dir": "/r",
    "snapshot": "/r/s",
    "tool_version": "",
    "missing_packages": [],
    "left_behind": {"key": False, "authorized_key": False},
}
UNREAD = {**FOUND, "complete": False, "to_do": True, "unread": ["a"]}
MODEL = {"repo": "lab/tiny", "commit": "c" * 40, "revision": "main", "files": []}
ASKED: dict[str, Any] = {
    "members": {"spark1": FOUND, "spark2": {**UNREAD, "repo_dir": "/other"}},
    "read": {"spark1": {"skipped": True}, "spark2": {**FOUND, "repo_dir": "/other"}},
    "model": {"model": MODEL, "config": {"model_type": "x"}, "linkable": False},
    "source": "hub",
    "place": "http://hub",
    "endpoint": "",
    "reserve_gb": 20,
    "tool_version": "2.4.0",
}


def planned(module: Any, asked: dict[str, Any], host: str) -> dict[str, Any]:
    plugin = module.ActionModule.__new__(module.ActionModule)
    plugin._task = SimpleNamespace(check_mode=False)
    return plugin.plan(asked, {"inventory_hostname": host})


def test_each_host_gets_its_own_facts_and_all_changes() -> None:
    plans = {host: planned(hf_cache_plan, ASKED, host) for host in ("spark1", "spark2")}
    assert [plan["repo_dir"] for plan in plans.values()] == ["/r", "/other"]
    for plan in plans.values():
        assert plan["changes"] == {"spark1": [], "spark2": []}, "the second look counts where there was one"
        assert (plan["repo"], plan["commit"], plan["config"]) == ("lab/tiny", "c" * 40, {"model_type": "x"})
        assert (plan["complete"], plan["bytes"], plan["receivers"]) == (True, 11002, [])
    assert ASKED["members"]["spark2"]["complete"] is False, "what was registered stays as it is"


def test_the_room_and_the_directories_of_all_are_told_on_each_host() -> None:
    disk = {"device": 7, "mount": "/", "free_bytes": 10**12}
    lacks = {**FOUND, "missing": ["a"], "to_do": True, "needed_bytes": 900, "filesystem": disk}
    members = {
        "spark1": {**lacks, "free_bytes": 10**12},
        "spark2": {**lacks, "repo_dir": "/other", "free_bytes": 10**12 + 300},  # a wrong file of 300 bytes goes first
    }
    plan = planned(hf_cache_plan, {**ASKED, "members": members, "read": {}}, "spark2")
    assert plan["repo_dirs"] == {"spark1": "/r", "spark2": "/other"}
    need = {"what": "lab/tiny", "filesystem": disk, "step": ""}
    assert plan["room"] == {
        "spark1": [{**need, "path": "/r", "bytes": 900}],
        "spark2": [{**need, "path": "/other", "bytes": 600}],
    }
    assert plan["moves"] == {  # of a wrong file all bytes come again
        "spark1": [{"what": "lab/tiny", "bytes": 900, "way": "download"}],
        "spark2": [{"what": "lab/tiny", "bytes": 900, "way": "copy"}],
    }
    of_directory = planned(hf_cache_plan, {**ASKED, "members": members, "read": {}, "source": "directory"}, "spark1")
    assert [one["way"] for one in of_directory["moves"]["spark1"]] == ["copy"], "the hub has no part in it"
    directory = {**ASKED["model"], "linkable": True}
    plan = planned(hf_cache_plan, {**ASKED, "members": members, "read": {}, "model": directory}, "spark1")
    assert plan["room"]["spark1"] == plan["moves"]["spark1"] == [], "the leader's own directory is linked"


DRAFT = {"model": {**MODEL, "repo": "lab/draft"}, "config": {"model_type": "y"}, "tensors": [{"name": "w"}]}


def test_a_model_beside_has_facts_of_its_own_on_each_host() -> None:
    there, lacks = {**FOUND, "repo_dir": "/d"}, {**UNREAD, "repo_dir": "/e", "bytes": 7}
    members = {"spark1": {**FOUND, "beside": [there]}, "spark2": {**UNREAD, "beside": [lacks]}}
    read = {"spark1": {"skipped": True}, "spark2": {**FOUND, "beside": [{**there, "repo_dir": "/e", "bytes": 7}]}}
    model = {**ASKED["model"], "beside": [DRAFT]}
    asked = {**ASKED, "members": members, "read": read, "model": model, "endpoint": "http://other"}
    for host, folder, size in (("spark1", "/d", 11002), ("spark2", "/e", 7)):
        plan = planned(hf_cache_plan, asked, host)
        (one,) = plan["beside"]
        assert {name: plan[name] for name in plan if name not in one} == {
            "changes": {"spark1": [], "spark2": []},
            "receivers": [],
            "brings": [],
            "room": plan["room"],
            "moves": plan["moves"],
            "beside": [one],
        }, "it has every field of the model's own"
        assert (one["repo"], one["commit"], one["revision"]) == ("lab/draft", "c" * 40, "main")
        assert (one["config"], one["tensors"], one["tensors_problem"]) == ({"model_type": "y"}, [{"name": "w"}], "")
        assert (one["repo_dir"], one["repo_dirs"]) == (folder, {"spark1": "/d", "spark2": "/e"})
        assert (one["bytes"], one["complete"], one["problems"]) == (size, True, [])
        assert (plan["repo"], plan["bytes"], plan["config"]) == ("lab/tiny", 11002, {"model_type": "x"})
    lacking = {**lacks, "missing": ["a"], "to_do": True, "needed_bytes": 7, "free_bytes": 10**12}
    members = {"spark1": members["spark1"], "spark2": {**FOUND, "beside": [lacking]}}
    there = {**asked, "members": {**members, "spark1": {**FOUND, "beside": [lacking]}}, "read": {}}
    (change,) = planned(hf_cache_plan, {**there, "tool_version": ""}, "spark1")["changes"]["spark1"]
    assert change["diff"]["after"].startswith("Download lab/draft@ccccccc from http://other (")
    assert planned(hf_cache_plan, {**there, "tool_version": ""}, "spark2")["receivers"] == ["spark2"]


def test_a_skipped_verification_is_none() -> None:
    plan = planned(hf_cache_plan, ASKED, "spark1")
    asked = {"plan": plan, "verified": {"skipped": True, "changed": False}, "applied": False}
    assert planned(hf_cache_report, asked, "spark1")["snapshot"] == "/r/s"
    with pytest.raises(hf_cache_report.ModelPlanError, match="was brought, and not verified"):
        planned(hf_cache_report, {**asked, "plan": {**plan, "complete": False}, "applied": True}, "spark1")


def test_a_copy_of_files() -> None:
    one = {
        "directory": "/d",
        "problems": {},
        "needed_bytes": 0,
        "free_bytes": 10**12,
        "left_behind": FOUND["left_behind"],
    }
    lacks = {**one, "directory": "/e", "problems": {"a": "is missing"}}
    asked = {"name": "x", "reserve_gb": 20, "members": {"spark1": one, "spark2": lacks, "spark3": one}}
    plan = planned(peer_copy_plan, asked, "spark2")
    assert (plan["receivers"], plan["directory"], plan["complete"]) == (["spark2"], "/e", False)
