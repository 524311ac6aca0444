# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table is shown as Ansible colours it, the document written, and the run fails only where it was asked to."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import yaml
from ansible.utils import color
from ansible_collections.sparkops.dgx_spark.plugins.action import engine_status_info, engine_status_report
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.quiet import QuietModule
from status_cases import CASES, pair, put

ROOT = Path(__file__).parents[4]


def report(check_mode: bool = False, **asked: Any) -> dict[str, Any]:
    plugin = engine_status_report.ActionModule.__new__(engine_status_report.ActionModule)
    plugin._task = SimpleNamespace(check_mode=check_mode)
    options = {name: one.get("default") for name, one in plugin.SPEC.items()}
    hostvars = {name: {"told": one} for name, one in asked.pop("members").items()}
    hostvars["other"] = {}
    given = {**options, **asked, "members": [name for name in hostvars if name != "other"], "register": "told"}
    return plugin.plan(given, {"inventory_hostname": "spark1", "hostvars": hostvars})


def test_the_reader_runs_on_the_host_and_prints_nothing() -> None:
    assert issubclass(engine_status_info.ActionModule, QuietModule)


def test_the_document_is_written_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = report(members=pair(), out="some/status.json")
    assert found["file"] == str(tmp_path / "some" / "status.json")
    written = json.loads(Path(found["file"]).read_text())
    jsonschema.validate(written, json.loads((ROOT / "docs" / "status.schema.json").read_text()))
    assert written == found["document"]
    assert "\n".join(found["lines"]) in capsys.readouterr().out
    assert found["_ansible_verbose_override"]


def test_the_page_has_the_table_and_runs_nothing(tmp_path: Path) -> None:
    bad = put("spark1", "read", "instances", 0, "state", reason="<script>alert(1)</script>", phase="failed")()
    found = report(members=bad, page=str(tmp_path / "status.html"))
    page = Path(found["page"]).read_text()
    assert "<script" not in page
    assert "SPARKS" in page
    assert 'class="' in page
    assert found["file"] == ""
    assert report(check_mode=True, members=bad, page=str(tmp_path / "other.html"))["page"] == ""


def told(repo: str, outcome: str = "served", why: str = "") -> dict[str, Any]:
    return {"at": 1796000000.0, "repo": repo, "commit": "0123abc", "outcome": outcome, "why": why}


def test_what_served_before_and_what_did_not_serve_are_told() -> None:
    known = [told("lab/a"), told("lab/b"), told("lab/c", "put back", "it crashed"), 7]
    found = report(members=put("spark1", "read", "instances", 0, history=known, previous=known[0])())
    text = " ".join(" ".join(found["lines"]).split())
    assert "before lab/a @ 0123abc, started 2026-11-30 00:53 UTC" in text
    assert "put back lab/c was tried 2026-11-30 00:53 UTC, " in text
    assert "and did not serve: it crashed" in text
    assert found["document"]["instances"][0]["history"] == known[:3]
    assert found["document"]["instances"][0]["previous"] == known[0]
    jsonschema.validate(found["document"], json.loads((ROOT / "docs" / "status.schema.json").read_text()))
    alone = report(members=put("spark1", "read", "instances", 0, history=[told("lab/a")])())
    assert "before lab/a" not in " ".join(" ".join(alone["lines"]).split())
    assert "put back" not in " ".join(alone["lines"])


def test_no_file_without_a_name_and_none_in_check_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert report(members=pair())["file"] == report(check_mode=True, members=pair(), out="x.json")["file"] == ""
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlanError, match=r"file.*status_json.*No Spark was changed\."):
        report(members=pair(), out=str(tmp_path / "file" / "status.json"))


@pytest.mark.parametrize(
    ("kind", "fail_at", "fails"),
    [
        ("rank_down", "never", False),
        ("rank_down", "serious", True),
        ("gpu_hot", "serious", False),
        ("gpu_hot", "warning", True),
        ("stopped", "warning", False),
    ],
)
def test_a_run_fails_for_what_it_was_asked_to(kind: str, fail_at: str, fails: bool) -> None:
    found = report(members=CASES[kind][0](), fail_at=fail_at)
    assert not found.get("failed"), "a failed task would print all of the document"
    assert [one.partition(": ")[0] for one in found["failing"]] == (["spark2"] if fails else [])


@pytest.mark.parametrize("coloured", [True, False])
def test_there_are_colours_in_a_terminal_alone(
    coloured: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(color, "ANSIBLE_COLOR", coloured)
    found = report(members=CASES["rank_down"][0]())
    out = capsys.readouterr().out
    assert ("\x1b[0;31mSERIOUS  spark2" in out) == coloured
    assert ("\x1b" in out) == coloured
    assert not any("\x1b" in line for line in found["lines"])


def test_the_table_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert max(map(len, report(members=pair())["lines"][1:])) <= 72


def test_the_playbook_asks_each_spark_once() -> None:
    begin, *own = yaml.safe_load((ROOT / "playbooks" / "status.yml").read_text())
    plays = [*yaml.safe_load((ROOT / "playbooks" / begin["ansible.builtin.import_playbook"]).read_text()), *own]
    tops = [task for play in plays for task in play["tasks"]]
    tasks = [one for top in tops for one in (*top.get("block", [top]), *top.get("rescue", []))]
    remote = [task for task in tasks if "sparkops.dgx_spark.engine_status_info" in task]
    assert len(remote) == 1
    others = {key for task in tasks if task not in remote for key in task if "." in key}
    assert others == {
        "ansible.builtin.assert",
        "ansible.builtin.debug",
        "sparkops.dgx_spark.engine_status_report",
    }
    assert not any("loop" in task or "until" in task for task in tasks)
    assert all(play["gather_facts"] is False for play in plays)
    assert remote[0]["ignore_unreachable"] is True


def test_a_host_that_registered_nothing_is_told_as_not_read() -> None:
    found = report(members={**pair(), "spark2": None})
    assert [one["kind"] for one in found["document"]["anomalies"]] == ["host_not_read"]
