# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How each image is told to guess tokens: by tables, and by the stand-in for each era of the engine."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, trtllm
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_speculative import (
    DRAFT_TARGET,
    EAGLE3,
    KINDS,
    MTP,
    Speculation,
    beneath,
    render,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._engine.trtllm_schema import Schema
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue, speculative
from hypothesis import given
from hypothesis import strategies as st

ENGINE = Path(__file__).parents[5] / "lab" / "roles" / "virtual_spark" / "files" / "engine"
HUB = "/home/nvidia/.cache/huggingface/hub"
DRAFT = {"repo": "a/b", "repo_dir": f"{HUB}/models--a--b", "snapshot": f"{HUB}/models--a--b/snapshots/cd"}
PLACE = "/draft/snapshots/cd"
VERSIONS = [
    "1.2.0rc1",
    "1.2.0rc6.post3",
    "1.2.1",
    "1.3.0rc5",
    "1.3.0rc13",
    "1.3.0rc19",
    "1.3.0rc20",
    "1.3.0",
    "1.4.0rc0",
]


def stand_in(name: str) -> Any:
    if str(ENGINE) not in sys.path:
        sys.path.insert(0, str(ENGINE))
    return importlib.import_module(f"tensorrt_llm.simulation.{name}")


SCHEMA = Schema(stand_in("schema").schema("1.4", "1.4.0rc0"))


def asked(kind: str, tokens: int = 4) -> Speculation:
    return Speculation(kind, "" if kind == MTP else "a/b", "", tokens)


@pytest.mark.parametrize(
    ("kind", "version", "wanted"),
    [
        (EAGLE3, "1.2.0rc6.post3", {"decoding_type": "Eagle", "speculative_model_dir": PLACE}),
        (EAGLE3, "1.3.0rc12", {"decoding_type": "Eagle", "speculative_model_dir": PLACE}),
        (EAGLE3, "any", {"decoding_type": "Eagle", "speculative_model_dir": PLACE}),
        (EAGLE3, "1.3.0rc20", {"decoding_type": "Eagle3", "speculative_model": PLACE}),
        (EAGLE3, "1.4.0rc0", {"decoding_type": "Eagle3", "speculative_model": PLACE}),
        (DRAFT_TARGET, "1.2.1", {"decoding_type": "DraftTarget", "speculative_model_dir": PLACE}),
        (DRAFT_TARGET, "1.3.0rc12", {"decoding_type": "Draft_Target", "speculative_model_dir": PLACE}),
        (DRAFT_TARGET, "1.3.0", {"decoding_type": "Draft_Target", "speculative_model": PLACE}),
        (DRAFT_TARGET, "", {"decoding_type": "Draft_Target", "speculative_model_dir": PLACE}),
        (MTP, "1.2.1", {"decoding_type": "MTP", "num_nextn_predict_layers": 4}),
        (MTP, "1.3.0rc13", {"decoding_type": "MTP", "num_nextn_predict_layers": 4}),
        (MTP, "1.3.0rc19", {"decoding_type": "MTP", "num_nextn_predict_layers": 4}),
        (MTP, "1.3.0rc20", {"decoding_type": "MTP"}),
        (MTP, "1.4.0rc0", {"decoding_type": "MTP"}),
    ],
)
def test_each_version_has_its_spelling(kind: str, version: str, wanted: dict[str, Any]) -> None:
    found = render(asked(kind), version, "" if kind == MTP else PLACE)
    assert found == {"max_draft_len": 4, **wanted}


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_with_a_schema_is_told_in_its_own_words_whatever_its_tag_says(kind: str) -> None:
    for version in ("any", "1.2.0", "1.4.0rc0"):
        found = render(asked(kind), version, PLACE, SCHEMA.takes)
        assert found["decoding_type"] == kind
        assert "num_nextn_predict_layers" not in found, "its schema says not to set it"
        assert SCHEMA.findings({"speculative_config": found}) == []
    old = render(asked(kind), "any", PLACE, lambda key: not key.endswith("speculative_model"))
    assert ("speculative_model_dir" in old) == (kind != MTP)


@given(st.sampled_from(KINDS), st.sampled_from(VERSIONS), st.integers(1, 32))
def test_the_engine_of_its_era_takes_what_it_is_told(kind: str, version: str, tokens: int) -> None:
    """By the stand-in's own transcription: names, types, and what each kind takes and needs."""
    era = stand_in("era").of_version(version)
    config = render(asked(kind, tokens), version, PLACE)
    stand_in("llm_args").check({"speculative_config": config}, era)
    found = stand_in("speculation").read(config, era)
    assert (found.tokens, found.model) == (tokens, "" if kind == MTP else PLACE)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_what_that_era_asks_for_is_beneath(kind: str, version: str) -> None:
    late = VERSIONS.index(version) >= VERSIONS.index("1.3.0rc20")
    found = beneath(asked(kind), version, has_schema=False)
    assert beneath(asked(kind), version, has_schema=True) == {}
    assert bool(found) == (kind != MTP and not late)
    assert found.get("disable_overlap_scheduler") == (True if kind == DRAFT_TARGET and not late else None)


# --- in a plan -------------------------------------------------------------------------------------------------------


def planned(kind: str = EAGLE3, version: str = "1.3.0rc13", **changed: Any) -> dict[str, Any]:
    options = {
        "members": ["spark1", "spark2"],
        "snapshot": f"{HUB}/models--x/snapshots/ab",
        "repo_dir": f"{HUB}/models--x",
        "version": version,
        "arguments": {"tp_size": 2},
        "speculation": asked(kind),
        "draft": {} if kind == MTP else DRAFT,
        **changed,
    }
    return trtllm.plan(trtllm.Request(**options))


@pytest.mark.parametrize("version", [*VERSIONS, "any"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_tables_of_its_version_accept_what_is_planned(kind: str, version: str) -> None:
    one = planned(kind, version)
    assert one["options"]["speculative_config"] == render(asked(kind), version, "" if kind == MTP else PLACE)
    assert one["said"]["options"]["speculative_config"]["max_draft_len"] == 4
    assert not [text for text in one["doubts"] if "speculative_config" in text and "no table tells" not in text]


@pytest.mark.parametrize("sparks", [1, 2])
@pytest.mark.parametrize("version", ["", "1.2.1", "1.3.0rc13", "1.3.0rc20", "1.4.0rc0", "any", "schema"])
@pytest.mark.parametrize("handle", [name for name, entry in catalogue.load().items() if entry["draft"]])
def test_every_draft_of_the_catalogue_is_accepted_by_its_era(handle: str, version: str, sparks: int) -> None:
    entry = catalogue.entry(handle)
    one = planned(
        version="1.4.0rc0" if version == "schema" else version or entry["version"],
        schema=SCHEMA if version == "schema" else None,
        members=["spark1", "spark2"][:sparks],
        arguments={"tp_size": sparks},
        config=entry["config"],
        entry=entry,
        speculation=speculative.asked("catalogue", handle),
    )
    config = one["options"]["speculative_config"]
    assert config["max_draft_len"] == entry["draft"]["tokens"]
    assert one["judged"]["options"] == ("schema" if version == "schema" else "tables")
    if version in ("schema", "1.4.0rc0"):
        assert SCHEMA.findings(one["options"]) == []


def test_the_draft_is_where_the_containers_have_it() -> None:
    config = planned()["options"]["speculative_config"]
    assert config["speculative_model_dir"] == f"{contract.DRAFT_DIR}/snapshots/cd"
    assert planned(draft={**DRAFT, "repo_dir": f"{DRAFT['repo_dir']}/"})["options"]["speculative_config"] == config
    with pytest.raises(ServeError, match="is not below"):
        planned(draft={**DRAFT, "snapshot": "/elsewhere"})


def test_a_person_overrides_what_is_beneath_and_nothing_is_beneath_without_speculation() -> None:
    assert planned()["options"]["kv_cache_config"]["enable_block_reuse"] is False
    said = {"kv_cache_config": {"enable_block_reuse": True}}
    assert planned(options=said)["options"]["kv_cache_config"]["enable_block_reuse"] is True
    plain = planned(speculation=None, draft={})["options"]
    assert "speculative_config" not in plain
    assert "enable_block_reuse" not in plain["kv_cache_config"]


@pytest.mark.parametrize("value", [None, {"decoding_type": "NGram", "max_draft_len": 2}])
def test_two_who_say_how_tokens_are_guessed_are_refused(value: Any) -> None:
    with pytest.raises(ServeError, match=r"speculative_config is in trtllm_serve_options.*leave one of the two out"):
        planned(options={"speculative_config": value})
    if value:
        with pytest.raises(ServeError, match="or in the options that spark_models has for this model"):
            planned(entry={"options": {"speculative_config": value}})
        assert (
            planned(options={"speculative_config": value}, speculation=None)["options"]["speculative_config"] == value
        )


def test_a_draft_that_nobody_brings_is_refused_with_the_mend() -> None:
    with pytest.raises(
        ServeError, match=r"asks for a/b to guess tokens, .*hf_cache_beside.*beside of trtllm_serve_model"
    ):
        planned(draft={})
    assert planned(MTP, draft={})["options"]["speculative_config"]["decoding_type"] == "MTP"
