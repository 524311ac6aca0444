# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of roles that decide something, with the values at which a shorter expression would go wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLES = Path(__file__).parents[2] / "roles"


def value(role: str, name: str, **variables: Any) -> Any:
    """What a variable of a role's vars is beside these."""
    text = yaml.safe_load((ROLES / role / "vars" / "main.yml").read_text())[name]
    return Templar(loader=DataLoader(), variables=variables).template(trust_as_template(text))


@pytest.mark.parametrize(
    ("carried", "planned", "before"),
    [({"sent_bytes": 0}, None, 0), ({"sent_bytes": 0}, 4096, 0), ({"skipped": True}, 4096, 4096)],
    ids=["new devices", "devices that came back", "an engine that has run since the plan"],
)
def test_devices_that_have_sent_nothing_yet_count_from_0(
    carried: dict[str, Any], planned: int | None, before: int
) -> None:
    found = {"rdma_sent_bytes": planned}
    own = value(
        "engine_serve", "__engine_serve_sent_before", __engine_serve_carried=carried, __engine_serve_found=found
    )
    assert own == before


@pytest.mark.parametrize(
    ("models", "repo", "patterns", "revision"),
    [
        (None, "openai/gpt-oss-20b", [], "main"),
        (None, "mistralai/Mixtral-8x7B-Instruct-v0.1", ["*.json", "*.safetensors", "tokenizer.model", "*.md"], "main"),
        (None, "", [], "main"),
        ({"me/mine": {"allow_patterns": ["*.json"], "revision": "v2"}}, "me/mine", ["*.json"], "v2"),
    ],
)
def test_the_cache_takes_what_the_catalogue_has_of_a_model(
    models: Any, repo: str, patterns: list[str], revision: str
) -> None:
    defaults = yaml.safe_load((ROLES / "hf_cache" / "defaults" / "main.yml").read_text())
    variables = {"hf_cache_repo": repo, **({"spark_models": models} if models else {})}
    templar = Templar(loader=DataLoader(), variables=variables)
    found = [
        templar.template(trust_as_template(defaults[f"hf_cache_{name}"])) for name in ("allow_patterns", "revision")
    ]
    assert found == [patterns, revision]


@pytest.mark.parametrize(
    ("said", "meant"), [("leave", "leave"), ("off", "off"), (False, "off"), ("Leave", "Leave"), ("of", "of")]
)
def test_no_word_but_off_reboots_a_spark(said: str | bool, meant: str) -> None:
    """The module refuses any other, as it stands."""
    assert value("cx7_network", "__cx7_network_hotplug", cx7_network_hotplug=said) == meant


@pytest.mark.parametrize(
    ("asked", "found", "undone"),
    [
        ("", {"spark1": [""], "spark2": [""]}, [""]),
        ("", {"spark1": ["", "vlm"], "spark2": ["a", "vlm"]}, ["", "a", "vlm"]),
        ("", {"spark1": [], "spark2": []}, [""]),
        ("vlm", {"spark1": ["", "vlm"], "spark2": []}, ["vlm"]),
    ],
)
def test_an_undo_removes_the_named_instance_or_all_of_any_spark(
    asked: str, found: dict[str, list[str]], undone: list[str]
) -> None:
    """All Sparks go through the same ones, and the one without a name, which was read already, comes first."""
    facts = {name: {"__engine_serve_read": {"instances": instances}} for name, instances in found.items()}
    own = value(
        "engine_serve",
        "__engine_serve_undone",
        engine_serve_instance=asked,
        ansible_play_hosts=list(found),
        hostvars=facts,
    )
    assert own == undone


@pytest.mark.parametrize(
    ("mounts", "used"),
    [
        ({}, []),
        ({"/home/a/.cache/huggingface/hub/models--lab--tiny": ["dgx-spark-trtllm-vlm"]}, ["dgx-spark-trtllm-vlm"]),
        (
            {
                "/hub/models--lab--tiny-chat": ["x"],
                "/hub/models--lab--tinyX": ["y"],
                "/hub/models--lab--tiny/refs": ["z"],
            },
            [],
        ),
        ({"/a/models--lab--tiny": ["x"], "/b/models--lab--tiny": ["y", "z"]}, ["x", "y", "z"]),
    ],
)
def test_a_model_is_removed_where_no_container_has_it_mounted(mounts: dict[str, list[str]], used: list[str]) -> None:
    told = {"hf_cache_repo": "lab/tiny", "__hf_cache_mounted": {"mounts": mounts}}
    assert value("hf_cache", "__hf_cache_undone_in_use", **told) == used
