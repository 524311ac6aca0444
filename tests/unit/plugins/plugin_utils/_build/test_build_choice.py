# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table: the newest image, this one, a build, or another engine, with reasons."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._build import choice

NOW = "nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13"
SAYS = {"version": "1.4.0rc1", "commit": "abcdef0123456789", "cuda": "13.2.1", "pytorch": "", "created": "2026-11-02"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def offered(*tags: str, problem: str = "", bad: str = "") -> dict[str, Any]:
    about = {"nightly": False, "bytes": 20 * 10**9, "architectures": ["arm64"], "says": SAYS}
    offers = [{**about, "tag": tag, "problem": "no image is for arm64" if tag == bad else ""} for tag in tags]
    return {"repository": NOW.rpartition(":")[0], "tags": 70, "newer": list(tags), "offers": offers, "problem": problem}


def rows(found: dict[str, Any], **more: Any) -> tuple[list[str], dict[str, choice.Row]]:
    chosen = choice.choose(choice.Asked(NOW, found, **more))
    places = [row.place for row in chosen if row.place]
    assert places == list(range(1, len(places) + 1))
    return [row.what for row in chosen if row.place], {row.what: row for row in chosen}


@pytest.mark.parametrize(
    ("found", "commit", "order"),
    [
        (offered("1.4.0rc1"), "", [choice.NEWEST, choice.STAY, choice.BUILD, choice.ENGINE]),
        (offered(), "", [choice.STAY, choice.BUILD, choice.ENGINE]),
        (offered(problem="it is silent"), "", [choice.STAY, choice.BUILD, choice.ENGINE]),
        (offered("1.4.0rc1"), COMMIT, [choice.BUILD, choice.NEWEST, choice.STAY, choice.ENGINE]),
        (offered("1.4.0rc1"), "v1.4.0rc2", [choice.BUILD, choice.NEWEST, choice.STAY, choice.ENGINE]),
        (offered("1.4.0rc1"), "v1.4.0rc1", [choice.NEWEST, choice.STAY, choice.BUILD, choice.ENGINE]),
        (offered("1.4.0rc1"), "v1.3.0rc20", [choice.NEWEST, choice.STAY, choice.BUILD, choice.ENGINE]),
    ],
)
def test_the_order(found: dict[str, Any], commit: str, order: list[str]) -> None:
    assert rows(found, commit=commit)[0] == order


def test_the_reasons_of_the_newest_one() -> None:
    found = rows(offered("1.4.0rc1", "1.4.0rc0", bad="1.4.0rc0"))[1][choice.NEWEST]
    said = " ".join(found.reasons)
    assert "version 1.4.0rc1, commit abcdef012345, CUDA 13.2.1, made on 2026-11-02" in said
    assert "it has no trtllm-build: 1.4.0rc1 is newer than 1.3.0rc20" in said
    assert "1.4.0rc0: no image is for arm64" in said
    assert found.command.endswith("spark_image=nvcr.io/nvidia/tensorrt-llm/release:1.4.0rc1")
    assert found.costs == "20.0 GB to download"


def test_a_tag_for_other_processors_is_passed_over() -> None:
    _order, found = rows(offered("1.4.0rc1", "1.4.0rc0", bad="1.4.0rc1"))
    assert found[choice.NEWEST].which.endswith(":1.4.0rc0")
    order, found = rows(offered("1.4.0rc1", bad="1.4.0rc1"))
    assert choice.NEWEST not in order
    assert "none of its newer tags can be taken" in found[choice.NEWEST].reasons[0]


def test_a_version_that_is_offered_needs_no_build() -> None:
    found = rows(offered("1.4.0rc1"), commit="v1.4.0rc0")[1][choice.BUILD]
    assert "no build is needed" in found.reasons[0]
    assert "no build is needed" not in " ".join(rows(offered("1.4.0rc1"), commit="v1.4.0rc2")[1][choice.BUILD].reasons)


def engine(name: str, place: int) -> dict[str, Any]:
    return {"engine": name, "place": place, "image": f"{name}:1", "reasons": [] if place else ["no such format"]}


def test_another_engine_comes_first_where_this_one_cannot_serve_the_model() -> None:
    cannot = [engine("vllm", 1), engine("trtllm", 0)]
    order, found = rows(offered("1.4.0rc1"), model="a/b", engines=cannot)
    assert order[0] == choice.ENGINE
    assert "trtllm cannot: no such format" in found[choice.ENGINE].reasons
    assert rows(offered("1.4.0rc1"), model="a/b", engines=[engine("trtllm", 1), engine("vllm", 2)])[0][-1] == choice.ENGINE
    order, found = rows(offered(), model="a/b", engines=[engine("trtllm", 1), engine("vllm", 0)])
    assert choice.ENGINE not in order
    assert found[choice.ENGINE].place == 0


def test_the_table_is_as_wide_as_a_terminal_and_says_all() -> None:
    asked = choice.Asked(NOW, offered("1.4.0rc1"), commit=COMMIT)
    table = choice.table(choice.choose(asked), asked)
    assert max(map(len, table)) <= 140
    assert table[3].startswith("1    build from source")
    text = " ".join(" ".join(table).split())
    assert f"Do it: playbooks/build_image.yml -e image_build_commit={COMMIT}" in text
    assert "2 to 4 hours are what an owner's plan says" in text
