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
    """What a variable of a role's vars is beside these, and beside the others of its vars."""
    own = yaml.safe_load((ROLES / role / "vars" / "main.yml").read_text())
    others = {key: trusted(text) for key, text in own.items()}
    return Templar(loader=DataLoader(), variables={**others, **variables}).template(others[name])


def trusted(text: Any) -> Any:
    """A value of a role's vars, with its templates."""
    return trust_as_template(text) if isinstance(text, str) else text


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
    told = {"hf_cache_repo": "lab/tiny", "hf_cache_beside": [], "__hf_cache_mounted": {"mounts": mounts}}
    assert value("hf_cache", "__hf_cache_undone_in_use", **told) == used
    assert value("hf_cache", "__hf_cache_undone_served", **told) == (["lab/tiny"] if used else [])


@pytest.mark.parametrize(
    ("mounts", "used", "served"),
    [
        ({"/hub/models--lab--tiny": ["x"], "/hub/models--lab--other": ["y"]}, ["x"], ["lab/tiny"]),
        ({"/hub/models--lab--a.draft": ["y"]}, ["y"], ["lab/a.draft"]),
        ({"/hub/models--lab--a-draft": ["y"], "/hub/models--lab--a.draft-2": ["z"], "/data": ["w"]}, [], []),
        (
            {"/hub/models--lab--tiny": ["x"], "/hub/models--lab--a.draft": ["x", "y"]},
            ["x", "x", "y"],
            ["lab/tiny", "lab/a.draft"],
        ),
    ],
)
def test_a_draft_is_removed_where_no_container_has_it_mounted(
    mounts: dict[str, list[str]], used: list[str], served: list[str]
) -> None:
    mounted = {"mounts": mounts}
    undo = {"hf_cache_repo": "lab/tiny", "hf_cache_beside": [{"repo": "lab/a.draft"}], "__hf_cache_mounted": mounted}
    assert value("hf_cache", "__hf_cache_undone_in_use", **undo) == used
    assert value("hf_cache", "__hf_cache_undone_served", **undo) == served
    cached = [
        {"repo": repo, "repo_dir": f"/hub/models--{repo.replace('/', '--')}"} for repo in ("lab/tiny", "lab/a.draft")
    ]
    prune = {"hf_cache_prune_repo": "lab/tiny", "hf_cache_prune_beside": ["lab/a.draft"], "__hf_cache_mounted": mounted}
    prune["__hf_cache_cached"] = {"models": [*cached, {"repo": "lab/other", "repo_dir": "/hub/models--lab--other"}]}
    assert value("hf_cache", "__hf_cache_pruned_in_use", **prune) == used
    assert value("hf_cache", "__hf_cache_pruned_served", **prune) == served


LOOK = {"unread": [], "corrupt": [], "noted": True}


def told_of(draft: dict[str, Any], leads: bool = True, **asked: Any) -> dict[str, Any]:
    """The variables of a Spark that has a model and a draft, and what the leader was told of these."""
    about = {"model": {"repo": "lab/draft"}, "tensors": [1], "noted": True, **asked}
    described = {"model": {"repo": "lab/tiny"}, "tensors": [2], "noted": True, "beside": [about]}
    return {
        "hf_cache_repo": "lab/tiny",
        "hf_cache_members": ["spark1", "spark2"],
        "hostvars": {"spark1": {"__hf_cache_described": described, "__hf_cache_hashed": {"skipped": True}}},
        "__hf_cache_found": {**LOOK, "snapshot": "/s", "verified": {"x": 1}, "beside": [{**LOOK, **draft}]},
        "__hf_cache_read": {"skipped": True},
        "__hf_cache_members": {"is_leader": leads},
    }


@pytest.mark.parametrize(
    ("name", "draft", "wanted"),
    [
        ("__hf_cache_unread", {}, []),
        ("__hf_cache_unread", {"unread": ["a"]}, ["a"]),
        ("__hf_cache_corrupt", {"corrupt": ["b"]}, ["b"]),
        ("__hf_cache_unverified", {}, False),
        ("__hf_cache_unverified", {"noted": False}, True),
    ],
)
def test_a_draft_is_looked_at_as_the_model_is(name: str, draft: dict[str, Any], wanted: Any) -> None:
    assert value("hf_cache", name, **told_of(draft)) == wanted


@pytest.mark.parametrize(("leads", "wanted"), [(True, True), (False, False)])
def test_what_the_leader_was_told_of_a_draft_is_noted_by_the_leader(leads: bool, wanted: bool) -> None:
    told = told_of({}, leads, noted=False)
    assert value("hf_cache", "__hf_cache_unverified", **told) is wanted
    (known,) = value("hf_cache", "__hf_cache_beside_known", **told)
    assert known["tensors"] == ([1] if leads else [])


def test_a_task_finds_what_is_known_of_a_model_by_its_repository() -> None:
    models = value("hf_cache", "__hf_cache_models", **told_of({"verified": {"y": 2}, "corrupt": ["c"]}))
    assert list(models) == ["lab/tiny", "lab/draft"]
    assert (models["lab/tiny"]["model"], models["lab/tiny"]["verified"]) == ({"repo": "lab/tiny"}, {"x": 1})
    assert models["lab/draft"]["model"] == {"repo": "lab/draft"}
    assert (models["lab/draft"]["verified"], models["lab/draft"]["corrupt"]) == ({"y": 2}, ["c"])


@pytest.mark.parametrize(
    ("of", "linked", "keys", "access"),
    [
        ({}, ["lab/tiny"], [], ["lab/tiny"]),
        ({"of": "lab/draft"}, ["lab/draft"], [], ["lab/draft"]),
    ],
)
def test_a_change_is_made_of_the_model_that_it_is_of(
    of: dict[str, str], linked: list[str], keys: list[str], access: list[str]
) -> None:
    names = ("Link the model's files", "Remove the authorized keys of an interrupted copy")
    changes = {"spark1": [{"name": name, **of} for name in names]}
    told = {"hf_cache_repo": "lab/tiny", "hf_cache_plan": {"changes": changes}, "inventory_hostname": "spark1"}
    found = [value("hf_cache", f"__hf_cache_{name}", **told) for name in ("to_link", "left_keys", "left_access")]
    assert found == [linked, keys, access]


def test_no_model_comes_beside_where_no_speculative_decoding_is_asked_for() -> None:
    text = yaml.safe_load((ROLES / "hf_cache" / "defaults" / "main.yml").read_text())["hf_cache_beside"]
    for asked in ({}, {"spark_speculative": ""}):
        templar = Templar(loader=DataLoader(), variables={"hf_cache_repo": "lab/tiny", **asked})
        assert templar.template(trust_as_template(text)) == []
