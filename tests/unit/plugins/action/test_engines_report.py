# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on engines, as it is shown and written on the controller."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.sparkops.dgx_spark.plugins.action import engines_report
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError
from models_cases import every_kind


def run(check_mode: bool = False, variables: dict[str, Any] | None = None, **said: Any) -> dict[str, Any]:
    entries, facts, hosts = every_kind()
    plugin = engines_report.ActionModule.__new__(engines_report.ActionModule)
    plugin._task, plugin._loader = SimpleNamespace(check_mode=check_mode), DataLoader()
    plugin._templar = Templar(plugin._loader)
    options = {name: one.get("default") for name, one in engines_report.ActionModule.SPEC.items()}
    own = {
        "model": "lab/whole",
        "entries": entries,
        "facts": facts,
        "members": {host.name: {"memory_mib": host.memory_mib} for host in hosts},
    }
    members = {"spark_members": [host.name for host in hosts]}
    return plugin.plan({**options, **own, **said}, {**members, **(variables or {})})


def test_says_what_to_try_first_and_writes_nothing_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    found = run()
    assert (found["first"], found["files"]) == ("trtllm", [])
    assert "TENSORRT-LLM" in capsys.readouterr().out
    assert found["_ansible_verbose_override"], "a log with -v stays short"


def test_writes_the_json_where_it_is_told_to(tmp_path: Path) -> None:
    found = run(out=str(tmp_path / "some" / "where"))
    assert found["files"] == [str(tmp_path / "some" / "where" / "engines.json")]
    written = json.loads(Path(found["files"][0]).read_text())
    assert written["engines"] == found["engines"]
    assert (written["model"], written["purpose"]) == ("lab/whole", "any")


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    assert run(check_mode=True, out=str(tmp_path))["files"] == []
    assert list(tmp_path.iterdir()) == []


def test_the_images_are_those_of_the_roles() -> None:
    def images(**variables: Any) -> dict[str, str]:
        trusted = {name: trust_as_template(value) for name, value in variables.items()}
        return {one["engine"]: one["image"] for one in run(variables=trusted)["engines"]}

    assert images() == {
        "trtllm": "nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5",
        "vllm": "vllm/vllm-openai:v0.28.0",
        "sglang": "lmsysorg/sglang:latest-cu130",
    }
    mine = images(spark_engine="vllm", spark_image="mine/vllm:1", sglang_serve_base_image="{{ 'mine' }}/sglang:2")
    assert (mine["vllm"], mine["sglang"]) == ("mine/vllm:1", "mine/sglang:2")
    assert mine["trtllm"].startswith("nvcr.io/"), "spark_image is that of the engine that is chosen"


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"model": "nothing"}, "spark_model is not set, or no handle of a model: say which"),
        ({"batch": 0}, "spark_engines_batch is 0: give a number from 1 on"),
    ],
)
def test_what_cannot_be_told_is_refused(said: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanError, match=says):
        run(**said)
