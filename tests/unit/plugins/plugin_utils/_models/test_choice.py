# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which models are looked at."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.choice import ChoiceError, choose, questions
from hypothesis import given
from hypothesis import strategies as st

SAID = {
    "openai/gpt-oss-20b": {},
    "openai/gpt-oss-120b": {"draft": {"handle": "nvidia/gpt-oss-120b-Eagle3", "kind": "Eagle3"}},
    "home/Qwen3-32B": {"revision": "v2", "allow_patterns": ["*.safetensors"]},
}
ENTRIES: dict[str, Any] = {handle: catalogue.entry(handle, {handle: said}) for handle, said in SAID.items()}


@pytest.mark.parametrize(
    ("only", "also", "chosen"),
    [
        ([], [], [*SAID]),
        (["", " "], [""], [*SAID]),
        ([], ["lab/tiny", "openai/gpt-oss-20b", "no handle"], [*SAID, "lab/tiny"]),
        (["gpt-oss"], [], ["openai/gpt-oss-20b", "openai/gpt-oss-120b"]),
        (["QWEN3", "oss-20b"], [], ["home/Qwen3-32B", "openai/gpt-oss-20b"]),
        (["openai/gpt-oss-20b "], [], ["openai/gpt-oss-20b"]),
        (["Qwen/Qwen3-4B"], [], ["Qwen/Qwen3-4B"]),
        (["tiny"], ["lab/tiny"], ["lab/tiny"]),
    ],
)
def test_choice(only: list[str], also: list[str], chosen: list[str]) -> None:
    assert list(choose(ENTRIES, only, also)) == chosen


@pytest.mark.parametrize(
    ("name", "near"),
    [("gpt-os-20", "openai/gpt-oss-20b"), ("qwen-3-32b", "home/Qwen3-32B"), ("zzz", "openai/gpt-oss-20b")],
)
def test_no_models_name_is_refused_with_near_ones(name: str, near: str) -> None:
    with pytest.raises(ChoiceError) as refused:
        choose(ENTRIES, [name], [])
    assert f"{name!r} is asked for" in str(refused.value)
    assert near in str(refused.value)
    assert str(refused.value).endswith("Nothing was changed.")


@given(st.lists(st.text(max_size=12), max_size=3), st.lists(st.text(max_size=12), max_size=2))
def test_any_name_is_chosen_or_refused(only: list[str], also: list[str]) -> None:
    try:
        chosen = choose(ENTRIES, only, also)
    except ChoiceError:
        return
    assert all(catalogue.HANDLE.fullmatch(handle) for handle in chosen)


def test_the_hub_is_asked_for_drafts_too() -> None:
    assert questions(ENTRIES, {"openai/gpt-oss-20b": "v3", "home/Qwen3-32B": "", "": "v4"}) == [
        {"repo": "openai/gpt-oss-20b", "revision": "v3", "allow_patterns": []},
        {"repo": "openai/gpt-oss-120b", "revision": "main", "allow_patterns": []},
        {"repo": "home/Qwen3-32B", "revision": "v2", "allow_patterns": ["*.safetensors"]},
        {"repo": "nvidia/gpt-oss-120b-Eagle3", "revision": "main", "allow_patterns": []},
    ]


def test_a_draft_is_asked_about_at_its_revision() -> None:
    draft = {"kind": "Eagle3", "handle": "me/head", "revision": "v2"}
    entries = {"me/mine": catalogue.entry("me/mine", {"me/mine": {"draft": draft}})}
    assert questions(entries)[1] == {"repo": "me/head", "revision": "v2", "allow_patterns": []}
