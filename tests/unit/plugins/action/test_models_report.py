# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The models that are chosen, and the report that is written on the controller."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action import models_asked, models_report
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.catalogue import CatalogueError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError
from models_cases import every_kind


def run(module: Any, asked: dict[str, Any], check_mode: bool = False) -> dict[str, Any]:
    plugin = module.ActionModule.__new__(module.ActionModule)
    plugin._task = SimpleNamespace(check_mode=check_mode)
    options = {name: one.get("default") for name, one in module.ActionModule.SPEC.items()}
    return plugin.plan({**options, **asked}, {"inventory_hostname": "spark1"})


def told() -> dict[str, Any]:
    entries, facts, hosts = every_kind()
    members = {
        host.name: {
            "memory_mib": host.memory_mib,
            "filesystem": {"device": 1, "mount": "/", "free_bytes": host.free_bytes},
            "blobs": host.blobs,
            "rates": host.rates,
            "cached": [{"repo": "lab/whole", "bytes": 9}, {"repo": "other/model", "bytes": 5}],
        }
        for host in hosts
    }
    return {"entries": entries, "facts": facts, "members": members}


def test_chooses_users_models_beside_the_catalogue() -> None:
    found = run(models_asked, {"models": {"home/mine": {"title": "Mine"}}, "also": ["lab/tiny"]})
    assert found["entries"]["home/mine"]["title"] == "Mine"
    assert {"home/mine", "lab/tiny", "openai/gpt-oss-20b"} <= set(found["repos"])
    assert [one["repo"] for one in found["asked"]] == found["repos"]
    assert found["_ansible_verbose_override"], "a log with -v stays short"
    with pytest.raises(CatalogueError, match="home/mine has the field titel"):
        run(models_asked, {"models": {"home/mine": {"titel": "Mine"}}})


def test_writes_three_files_where_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(models_report, {**told(), "out": "some/where"})
    names = ("models.html", "models.json", "models.txt")
    assert found["files"] == [str(tmp_path / "some" / "where" / name) for name in names]
    html, plain, text = (Path(name).read_text() for name in found["files"])
    assert html.startswith("<!DOCTYPE html>")
    assert json.loads(plain)["models"] == found["models"]
    assert json.loads(plain)["others_cached"] == {"spark1": ["other/model"], "spark2": ["other/model"]}
    assert text.splitlines() == found["table"]
    assert text.rstrip("\n") in capsys.readouterr().out, "shown as it is, without quotes and folds"
    assert all(Path(name).stat().st_mode & 0o777 == 0o644 for name in found["files"])


def test_check_mode_and_an_empty_name_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(models_report, {**told(), "out": "there"}, check_mode=True)["files"] == []
    assert run(models_report, told())["files"] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"batch": 0}, "spark_models_batch is 0: give a number from 1 on"),
        ({"context": -1}, "spark_models_context is -1"),
        ({"efficiency": 0.0}, "spark_models_efficiency is 0.0: give a share above 0, and 1 at most"),
        ({"efficiency": float("nan")}, "spark_models_efficiency is nan"),
        ({"efficiency": 60.0}, "spark_models_efficiency is 60.0"),
        ({"download_mb_s": float("inf")}, "spark_models_download_mb_s is inf"),
        ({"copy_mb_s": -1.0}, "spark_models_copy_mb_s is -1.0"),
        ({"reserve_gb": float("nan")}, "spark_reserve_gb is nan"),
    ],
)
def test_odd_figures_are_refused(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanError) as refused:
        run(models_report, {**told(), **asked})
    assert says in str(refused.value)
    assert str(refused.value).endswith("Nothing was changed.")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlanError) as refused:
        run(models_report, {**told(), "out": str(tmp_path / "file")})
    assert f"{tmp_path}/file" in str(refused.value)
    assert "name another directory on this controller (spark_models_out)" in str(refused.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_of_another_user_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PlanError, match="spark_models_out"):
        run(models_report, {**told(), "out": str(tmp_path / "there")})
