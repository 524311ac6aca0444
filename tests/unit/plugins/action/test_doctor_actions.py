# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor on the controller: names are checked first, findings are shown and written, and an archive is made."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action import (
    doctor_asked,
    doctor_bundle,
    doctor_report,
    preflight_report,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor import bundle
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.checks import CheckError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.told import told_by
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError
from doctor_cases import MEMBERS, damaged, pair

READ = "spark_doctor_read"


def run(
    module: Any, asked: dict[str, Any], hostvars: dict[str, Any] | None = None, check: bool = False
) -> dict[str, Any]:
    plugin = module.ActionModule.__new__(module.ActionModule)
    plugin._task = SimpleNamespace(check_mode=check)
    plugin._play_context = SimpleNamespace(password=None, become_pass="asked-for")
    options = {name: one.get("default") for name, one in module.ActionModule.SPEC.items()}
    return plugin.plan({**options, **asked}, {"hostvars": hostvars or {}})


def variables(told: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: {READ: result, "spark_doctor_hub": {"models": {}}} for name, result in told.items()}


def report(told: dict[str, dict[str, Any]], **asked: Any) -> dict[str, Any]:
    return run(
        doctor_report, {"members": list(MEMBERS), "register": READ, **asked}, variables(told), asked.pop("check", False)
    )


def test_names_are_checked_before_anything() -> None:
    found = run(doctor_asked, {"treat": ["validation_left"], "only": ["memory_low"]})
    assert found["treat"] == ["validation_left"]
    assert {"clock_unsynchronised", "netplan_readable"} <= set(found["treatable"])
    with pytest.raises(CheckError, match=r"there is no such check.*Nothing was changed\."):
        run(doctor_asked, {"treat": ["nonsense"]})
    with pytest.raises(CheckError, match="memory_low is not mended here"):
        run(doctor_asked, {"treat": ["memory_low"]})
    with pytest.raises(PlanError, match=r"doctor_only names nonsense.*Nothing was changed\."):
        run(doctor_asked, {"only": ["nonsense"]})


def test_findings_are_shown_and_returned(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(
        damaged({"spark1.read.memory.available_mib": 5, "spark2.read.netplan.0.mode": "0644"}),
        treat=["netplan_readable"],
    )
    assert [one["check"] for one in found["findings"]] == ["memory_low", "netplan_readable"]
    assert found["failing"] == ["memory_low on spark1"]
    assert found["treatments"] == {"spark2": {"netplan_readable": [{"path": "/etc/netplan/40-cx7.yaml"}]}}
    changes = {"spark1": [], "spark2": [{"name": "Mend netplan_readable", "of": "/etc/netplan/40-cx7.yaml"}]}
    assert found["changes"] == changes
    assert (found["document"]["exit_status"], found["file"]) == (2, "")
    shown = capsys.readouterr().out
    assert "SERIOUS  spark1: Little memory is left (memory_low; you decide)" in shown
    assert found["_ansible_verbose_override"]


def test_two_sound_sparks(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(pair(), fail_at="note", hub="spark_doctor_hub")
    assert (found["findings"], found["failing"], found["not_looked_at"]) == ([], [], [])
    assert "nothing was found" in capsys.readouterr().out


def test_a_file_for_programs(tmp_path: Path) -> None:
    told = damaged({"spark1.read.memory.available_mib": 5})
    found = report(told, out=str(tmp_path / "a" / "doctor.json"))
    written = json.loads(Path(found["file"]).read_text())
    assert written == json.loads(json.dumps(found["document"]))
    assert Path(found["file"]).stat().st_mode & 0o777 == 0o600
    assert report(told, out=str(tmp_path / "none.json"), check=True)["file"] == ""
    assert not (tmp_path / "none.json").exists()
    (tmp_path / "file").touch()
    with pytest.raises(PlanError, match=r"doctor_json\). No Spark was changed"):
        report(told, out=str(tmp_path / "file" / "x.json"))


def test_a_second_look_tells_what_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    before = report(damaged({"spark1.read.netplan.0.mode": "0644"}))["findings"]
    found = report(pair(), before=before)
    assert found["mended"] == ["netplan_readable on spark1"]
    assert "MENDED\n  netplan_readable on spark1" in capsys.readouterr().out


def test_secrets_that_come_this_far_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    report({**pair(), "spark2": {"unreachable": True, "msg": "ssh http://me:hunter22@x failed"}})
    assert "hunter22" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (None, "it took no part in this run"),
        ({"unreachable": True, "msg": "timed\n out"}, "timed out"),
        ({"failed": True, "msg": "Missing sudo password"}, "Missing sudo password"),
        (
            {"failed": True, "msg": "No start of json", "module_stderr": "sudo: a password\nis required"},
            "json sudo: a password is",
        ),
        ({"skipped": True}, "nothing was told"),
        ({"read": 3}, "nothing was told"),
    ],
)
def test_a_host_that_told_nothing_says_why(result: Any, why: str) -> None:
    hostvars = {"spark1": {READ: pair()["spark1"]}, "spark2": {} if result is None else {READ: result}}
    found = told_by(hostvars, MEMBERS, READ)
    assert why in found["spark2"]["why"]
    assert found["spark1"]["read"]["host"]["hostname"] == "spark1"
    assert "cannot be read" in told_by({}, MEMBERS, READ)["spark1"]["why"]


@pytest.mark.parametrize(
    ("asked", "read", "unread"),
    [
        ({"models": {"lab/x": {"problem": "gated"}}}, {"lab/x": {"problem": "gated"}}, None),
        ({"failed": True, "msg": "the hub is gone"}, None, "the hub is gone"),
        ({"skipped": True}, None, None),
    ],
)
def test_what_the_hub_told_is_the_leaders(asked: Any, read: Any, unread: Any) -> None:
    told = pair()
    del told["spark1"]["read"]["hub"]
    hostvars = {name: {READ: one, "hub": asked} for name, one in told.items()}
    found = told_by(hostvars, MEMBERS, READ, "hub")
    assert found["spark1"]["read"].get("hub") == read
    assert found["spark1"]["unread"].get("hub") == unread
    assert "hub" not in found["spark2"]["read"]


PLANNED = {"repo": "lab/tiny", "model": {"moves": {}}, "serve": {"changes": {}, "moves": {}}}


def test_whether_a_model_can_be_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = {"members": list(MEMBERS), "register": READ, **PLANNED, "out": str(tmp_path / "preflight.json")}
    found = run(preflight_report, asked, variables(pair()))
    assert (found["answer"], found["complete"], found["words"][0]) == ("ready", True, "ready")
    document = json.loads(Path(found["file"]).read_text())
    assert (document["answer"], sorted(document["hosts"])) == ("ready", ["spark1", "spark2"])
    refused = run(preflight_report, {**asked, "refusals": {"spark1": "no room"}, "out": ""}, variables(pair()))
    assert (refused["answer"], refused["file"], refused["blocking"]) == ("blocked", "", ["spark1: no room"])
    assert "blocked spark1: no room" in capsys.readouterr().out
    dry = run(preflight_report, {**asked, "out": str(tmp_path / "none")}, variables(pair()), check=True)
    assert dry["file"] == ""


def test_a_plan_that_was_lost_is_no_ready_model() -> None:
    asked = {"members": list(MEMBERS), "register": READ, **PLANNED, "model": {}, "serve": {"skipped": True}}
    found = run(preflight_report, asked, variables(pair()))
    assert (found["answer"], found["blocking"]) == ("blocked", ["all: nothing was planned"])


GIVEN = "".join(f"the-{name} " for name in bundle.SECRETS)


def test_an_archive(tmp_path: Path) -> None:
    told = damaged({"spark1.read.logs": {"x": ["token hf_abcdefghijklmnopqr and own-secret", "asked-for", GIVEN]}})
    document = report(told)["document"]
    asked = {
        "members": list(MEMBERS),
        "register": READ,
        "document": document,
        "lines": ["DOCTOR"],
        "secrets": ["own-secret", ""],
        "out": str(tmp_path / "here"),
    }
    hostvars = variables(told)
    hostvars["spark2"].update({name: f"the-{name}" for name in bundle.SECRETS})
    found = run(doctor_bundle, asked, hostvars)
    path = Path(found["path"])
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as tar:
        streams = {one.name.partition("/")[2]: tar.extractfile(one) for one in tar.getmembers()}
        texts = {name: stream.read().decode() for name, stream in streams.items() if stream}
    assert sorted(texts) == found["files"]
    assert texts["spark1/logs/x.log"] == "token hf_(redacted) and (redacted)\n(redacted)\n" + (
        f"{'(redacted) ' * len(bundle.SECRETS)}\n"
    )
    assert not Path(
        run(doctor_bundle, {**asked, "out": str(tmp_path / "none")}, variables(told), check=True)["path"]
    ).exists()
    (tmp_path / "file").touch()
    with pytest.raises(PlanError, match=r"doctor_bundle_dir\). No Spark was changed"):
        run(doctor_bundle, {**asked, "out": str(tmp_path / "file")}, variables(told))
