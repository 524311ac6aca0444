# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which plays benchmark_all has run, with what, and what it notes, whatever comes in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping

import pytest
from ansible import context
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.utils.context_objects import CLIArgs
from ansible.utils.display import Display
from ansible_collections.sparkops.dgx_spark.plugins.action import benchmark_all
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import children
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError
from status_cases import LLM, pair

SERVES, OTHER, THIRD = "nvidia/Qwen3-32B-FP4", "lab/other", "lab/third"
HOST = {"memory_mib": 122_000, "filesystem": {"free_bytes": 10**13}, "blobs": {}, "rates": {}, "cached": []}
ASKED = {"arguments": {"tp_size": 2}, "options": {}, "environment": {}, "speculative": "", "image": "img:1"}
HISTORY = [{"repo": SERVES, "commit": "abc", "asked": ASKED}]


class Sparks:
    """Plays on Sparks that are none: which model serves, which plays came, and which of them fail or never end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, out: Path) -> None:
        self.serves, self.out, self.wrong = SERVES, out, {}
        self.came: list[tuple[str, str]] = []
        self.killed_at = -1
        self.said: list[str] = []
        monkeypatch.setattr(children, "run", self._run)
        monkeypatch.setattr(context, "CLIARGS", CLIArgs({"inventory": ["hosts.yml"]}))
        monkeypatch.setattr(Display, "display", lambda _self, text, *_more, **_options: self.said.append(text))

    def _run(self, playbook: Path, options: list[str], variables: Mapping[str, Any], *_rest: Any) -> str:
        assert options == ["--inventory=hosts.yml"]
        assert playbook.is_file()
        if len(self.came) == self.killed_at:
            self.killed_at = -1
            raise SystemExit(1)
        if playbook.name == "benchmark.yml":
            name = variables["benchmark_name"]
            self.came.append(("measure", self.serves))
            assert self.serves.replace("/", "--") in name
            (self.out / f"{name}.json").write_text("{}")
            return self.wrong.get(("measure", self.serves), "")
        if playbook.name == "stop.yml":
            self.came.append(("stop", ""))
            return ""
        self.came.append(("switch", variables["spark_model"]))
        why = self.wrong.get(("switch", variables["spark_model"]), "")
        self.serves = self.serves if why else variables["spark_model"]
        return why

    def call(self, *models: str, check: bool = False, members: Any = None, **options: Any) -> dict[str, Any]:
        """One call of the playbook."""
        action = benchmark_all.ActionModule.__new__(benchmark_all.ActionModule)
        action._task = type("Task", (), {"check_mode": check})()
        action._play_context = type("PlayContext", (), {"password": "", "become_pass": ""})()
        action._display = Display()
        told = members or pair()
        for one in told.values():
            for container in one["read"]["docker"]["containers"][LLM]:
                container["repo"] = self.serves
        entries = {handle: catalogue.entry(handle) for handle in models}
        asked = {
            "named": True,
            "entries": entries,
            "facts": {handle: {"refused": False} for handle in models},
            "hosts": dict.fromkeys(told, HOST),
            "history": HISTORY,
            "status": "status",
            "directory": str(self.out),
            **options,
        }
        valid = ArgumentSpecValidator(benchmark_all.ActionModule.SPEC).validate(asked)
        assert valid.error_messages == []
        variables = {name: {"status": one} for name, one in told.items()}
        return action.plan(valid.validated_parameters, {"inventory_hostname": "spark1", "hostvars": variables})

    def journal(self) -> dict[str, Any]:
        return json.loads((self.out / "all" / "journal.json").read_text())


@pytest.fixture
def sparks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sparks:
    return Sparks(monkeypatch, tmp_path)


def test_each_is_switched_in_and_measured_and_the_first_one_serves_again(sparks: Sparks) -> None:
    found = sparks.call(OTHER, SERVES, THIRD)
    assert sparks.came == [
        *[("measure", SERVES), ("switch", OTHER), ("measure", OTHER), ("switch", THIRD), ("measure", THIRD)],
        ("switch", SERVES),
    ]
    assert [(one["model"], one["state"], one["result"]) for one in found["models"]] == [
        (SERVES, "measured", "all-nvidia--Qwen3-32B-FP4"),
        (OTHER, "measured", "all-lab--other"),
        (THIRD, "measured", "all-lab--third"),
    ]
    assert found["failed"] == []
    assert sparks.journal()["before"] is None
    sparks.came.clear()
    assert sparks.call(OTHER, SERVES, THIRD)["seconds"] == 0
    assert sparks.came == [], "nothing twice"


@pytest.mark.parametrize("moment", range(6))
def test_killed_at_any_play_it_goes_on_and_measures_nothing_twice(sparks: Sparks, moment: int) -> None:
    sparks.killed_at = moment
    with pytest.raises(SystemExit):
        sparks.call(OTHER, SERVES, THIRD)
    sparks.call(OTHER, SERVES, THIRD)
    measured = [model for what, model in sparks.came if what == "measure"]
    assert sorted(measured) == sorted({SERVES, OTHER, THIRD})
    assert sparks.serves == SERVES
    assert sparks.journal()["before"] is None
    assert {one["state"] for one in sparks.journal()["models"].values()} == {"measured"}


def test_a_failure_is_a_row_and_is_tried_again_only_where_that_is_asked_for(sparks: Sparks) -> None:
    sparks.wrong = {("switch", OTHER): "spark1: it does not load", ("measure", THIRD): "2 of 10 requests: 503"}
    found = sparks.call(OTHER, THIRD)
    assert [one["state"] for one in found["models"]] == ["failed", "failed"]
    assert found["failed"][0].startswith(f"{OTHER}: spark1: it does not load (")
    assert found["failed"][0].endswith("switch.log has all of it)")
    assert sparks.serves == SERVES
    sparks.came.clear()
    assert sparks.call(OTHER, THIRD)["failed"] == found["failed"]
    assert sparks.came == []
    sparks.wrong = {}
    found = sparks.call(OTHER, THIRD, retry=True)
    assert [(one["state"], one["result"]) for one in found["models"]] == [
        ("measured", "all-lab--other-2"),
        ("measured", "all-lab--third-2"),
    ]
    assert sparks.serves == SERVES


def test_what_did_not_serve_is_stopped_again(sparks: Sparks) -> None:
    sparks.call(OTHER, members=_stopped())
    assert sparks.came == [("switch", OTHER), ("measure", OTHER), ("switch", SERVES), ("stop", "")]


def _stopped() -> dict[str, Any]:
    told = pair()
    for one in told.values():
        one["read"]["docker"]["containers"][LLM] = []
    return told


def test_where_it_cannot_be_had_back_the_play_says_so_and_the_next_one_tries_again(sparks: Sparks) -> None:
    sparks.wrong = {("switch", SERVES): "spark2: it is not reached"}
    with pytest.raises(PlanError, match=r"could not be had back.*spark2: it is not reached"):
        sparks.call(OTHER)
    assert sparks.journal()["before"]["recorded"] == ASKED
    sparks.wrong = {}
    sparks.came.clear()
    sparks.call(OTHER)
    assert sparks.came == [("switch", SERVES)]


def test_check_says_what_would_run_and_does_nothing(sparks: Sparks) -> None:
    found = sparks.call(OTHER, SERVES, check=True)
    assert (sparks.came, list(sparks.out.iterdir())) == ([], [])
    assert [one["state"] for one in found["models"]] == ["to be measured", "to be measured"]
    assert sparks.said[-1].startswith("BENCHMARK of 2 models, quick on 2 Sparks: 2 to be measured, about")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "a/b"}, "benchmark_name is 'a/b'"),
        ({"model": "x"}, "benchmark_model is 'x', and each model is asked by its own name"),
        ({"runs": 2}, "is of a benchmark with runs 3, not 2: name another benchmark"),
    ],
)
def test_what_cannot_be_is_refused(sparks: Sparks, options: dict[str, Any], words: str) -> None:
    sparks.call(SERVES)
    sparks.came.clear()
    with pytest.raises(PlanError) as refused:
        sparks.call(SERVES, **options)
    assert words in str(refused.value)
    assert str(refused.value).endswith("Nothing was measured.")
    assert sparks.came == []
