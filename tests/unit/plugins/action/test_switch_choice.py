# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The choice of switch_model.yml: by a name, by the history, or in a terminal."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from ansible.errors import AnsiblePromptNoninteractive
from ansible.utils.display import Display
from ansible_collections.sparkops.dgx_spark.plugins.action import switch_choice
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError

DEFAULTS = {name: spec["default"] for name, spec in switch_choice.ActionModule.SPEC.items()}
SPARK = {"memory_mib": 122_000, "filesystem": {"free_bytes": 10**13}, "blobs": {}, "rates": {}, "cached": []}
ASKED = {"arguments": {"tp_size": 2}, "options": {}, "environment": {}, "speculative": "catalogue", "image": "img:1"}
HISTORY = [{"repo": "lab/a", "commit": "abc", "asked": ASKED}, {"repo": "lab/b", "commit": "def", "asked": {}}]


def chosen(**options: Any) -> dict[str, Any]:
    action = switch_choice.ActionModule.__new__(switch_choice.ActionModule)
    return action.plan({**DEFAULTS, **options}, {"inventory_hostname": "spark1"})


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What a person types, one after the other; returns what is shown."""

    def given(*words: str) -> list[str]:
        left, shown = list(words), []

        def read(question: str, **_options: Any) -> bytes:
            shown.append(question)
            return left.pop(0).encode()

        monkeypatch.setattr(Display, "prompt_until", lambda _self, *words, **options: read(*words, **options))
        monkeypatch.setattr(Display, "display", lambda _self, text, *_more, **_options: shown.append(text))
        return shown

    return given


def test_a_named_model_is_taken_with_its_revision() -> None:
    found = chosen(model="lab/c", speculative={"kind": "MTP"}, history=HISTORY)
    assert {name: found[name] for name in ("repo", "revision", "recorded")} == {
        "repo": "lab/c",
        "revision": "main",
        "recorded": {},
    }
    assert found["speculative"] == {"kind": "MTP"}
    assert "lab/c serves instead of lab/b" in found["left"]
    assert chosen(model="lab/c", revision="v2")["revision"] == "v2"
    assert chosen(model="lab/c", models={"lab/c": {"revision": "v3"}})["revision"] == "v3"


def test_what_served_before_is_taken_by_its_commit_with_its_options() -> None:
    found = chosen(model="previous", revision="v2", history=HISTORY)
    assert (found["repo"], found["revision"], found["speculative"]) == ("lab/a", "abc", "catalogue")
    assert found["recorded"] == ASKED


def test_without_a_history_there_is_nothing_before() -> None:
    with pytest.raises(PlanError, match=r"^spark1: spark_model=previous .* Nothing was changed\.$"):
        chosen(model="previous")


def test_a_person_chooses_by_number_and_is_asked_again_for_what_does_not_fit(
    answers: Callable[..., list[str]],
) -> None:
    shown = answers("nonsense", "deepseek-ai/DeepSeek-V3", "1")
    models = {"deepseek-ai/DeepSeek-V3": {"min_sparks": 8, "weights_gb": 700}}
    found = chosen(members={"spark1": SPARK}, history=HISTORY, models=models)
    text = "\n".join(shown)
    assert "Which model is to serve?" in text
    assert "deepseek-ai/DeepSeek-V3 does not fit" in text
    assert found["repo"] in shown[0]
    assert "fits" in next(line for line in shown[0].splitlines() if found["repo"] in line)


def test_without_a_terminal_it_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_arguments: Any, **_options: Any) -> bytes:
        raise AnsiblePromptNoninteractive("no terminal")

    monkeypatch.setattr(Display, "prompt_until", none)
    monkeypatch.setattr(Display, "display", lambda *_arguments, **_options: None)
    with pytest.raises(PlanError, match=r"There is no terminal to ask in: .* -e spark_model="):
        chosen(members={"spark1": SPARK})
