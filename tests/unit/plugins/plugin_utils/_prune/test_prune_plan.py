# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes from which Spark: no more than is needed, what was used longest ago first, and nothing that is needed."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._prune import plan as pruning
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._prune.plan import Asked, PruneError
from hypothesis import given
from hypothesis import strategies as st

GB, DAY, NOW = 10**9, 86400.0, 1_800_000_000.0
BASE_NAME = "nvcr.io/nvidia/tensorrt-llm/release:1"


def model(repo: str, gb: float, days: float, noted: bool = True, busy: bool = False) -> dict[str, Any]:
    return {
        "repo": repo,
        "repo_dir": f"/hf/hub/models--{repo.replace('/', '--')}",
        "bytes": int(gb * GB),
        "last_used": NOW - days * DAY,
        "noted": noted,
        "busy": busy,
    }


def image(name: str, gb: float, days: float, layers: str, base: str = "", **more: Any) -> dict[str, Any]:
    """:param layers: a letter each. :param base: of one that this collection built."""
    labels = {"dgx-spark": "trtllm-serve", "dgx-spark.base": base} if base else {}
    names = more.get("names") or [name]
    about = {"id": identity(name), "names": names, "bytes": int(gb * GB), "layers": list(layers)}
    return {**about, "labels": labels, "last_used": NOW - days * DAY}


def identity(name: str) -> str:
    return "sha256:" + (name.encode().hex() * 64)[:64]


def told(*things: dict[str, Any], free: float = 100, free_images: float | None = None, **needed: Any) -> dict[str, Any]:
    """What a host tells; on one file system, unless its images have one with that many GB."""
    cache = {"device": 1, "mount": "/", "free_bytes": int(free * GB)}
    own = {"device": 2, "mount": "/docker", "free_bytes": int((free_images or 0) * GB)}
    return {
        "models": [one for one in things if "repo" in one],
        "images": [one for one in things if "id" in one],
        "needed": {"models": {}, "images": {}, **needed},
        "filesystems": {"cache": cache, "images": cache if free_images is None else own},
        "now": NOW,
    }


def goes(members: dict[str, Any], **asked: Any) -> dict[str, list[str]]:
    """What goes from each host, by the words for people."""
    found = pruning.plan(members, Asked(**asked))
    return {name: [one.called for one in going] for name, going in found.removes.items() if going}


OLD, MIDDLE, NEW = model("lab/old", 50, 90), model("lab/middle", 30, 30), model("lab/new", 60, 1)
BASE = image(BASE_NAME, 44, 80, "abc")
BUILT = image("dgx-spark/trtllm-serve:1", 45, 60, "abcd", BASE_NAME)


@pytest.mark.parametrize(
    ("free_gb", "wanted"),
    [
        (100, []),
        (101, ["lab/old"]),
        (150, ["lab/old"]),
        (151, ["lab/old", "lab/middle"]),
        (180, ["lab/old", "lab/middle"]),
        (240, ["lab/old", "lab/middle", "lab/new"]),
    ],
)
def test_what_was_used_longest_ago_goes_first_and_no_more_than_is_needed(free_gb: float, wanted: list[str]) -> None:
    assert goes({"spark1": told(NEW, MIDDLE, OLD)}, free_gb=free_gb).get("spark1", []) == wanted


def test_an_old_one_stays_where_what_comes_after_makes_the_room_alone() -> None:
    small = model("lab/small", 1, 300)
    assert goes({"spark1": told(small, OLD, free=100)}, free_gb=150) == {"spark1": ["lab/old"]}


def test_only_a_spark_that_lacks_room_gives_any() -> None:
    members = {"spark1": told(OLD, free=500), "spark2": told(OLD)}
    assert goes(members, free_gb=150) == {"spark2": ["lab/old"]}


def test_the_last_use_on_any_spark_counts() -> None:
    members = {"spark1": told(MIDDLE, {**OLD, "last_used": NOW}, free=500), "spark2": told(MIDDLE, OLD)}
    assert goes(members, free_gb=120) == {"spark2": ["lab/middle"]}


def test_what_others_brought_goes_only_where_it_is_named() -> None:
    foreign = model("other/foreign", 500, 900, noted=False)
    theirs = image("postgres:17", 500, 900, "xyz")
    members = {"spark1": told(foreign, theirs, OLD)}
    assert goes(members, free_gb=150) == {"spark1": ["lab/old"]}
    with pytest.raises(PruneError, match=r"100\.00 GB are, and 50\.00 GB can be made free .*Nothing was changed\."):
        goes(members, free_gb=151)
    assert goes(members, models=["other/foreign"], images=["postgres:17"]) == {
        "spark1": ["other/foreign", "postgres:17"]
    }


USED = {"models": {"lab/old": ["dgx-spark-trtllm-vlm"]}}


def test_what_is_served_by_one_spark_stays_on_all() -> None:
    members = {"spark1": told(OLD, MIDDLE, **USED), "spark2": told(OLD, MIDDLE)}
    assert goes(members, free_gb=130) == {"spark1": ["lab/middle"], "spark2": ["lab/middle"]}
    with pytest.raises(PruneError, match=r"lab/old stays: dgx-spark-trtllm-vlm on spark1 needs it\. Nothing was"):
        goes(members, models=["lab/old"])
    with pytest.raises(PruneError, match=r"^spark1: .*\. spark2: .*Nothing was changed\.$"):
        goes(members, free_gb=140)


@pytest.mark.parametrize("asked", [{"free_gb": 130}, {"models": ["lab/middle"]}])
def test_what_is_pinned_or_on_its_way_stays(asked: dict[str, Any]) -> None:
    with pytest.raises(PruneError, match="Nothing was changed"):
        goes({"spark1": told(MIDDLE)}, keep=["lab/middle"], **asked)
    with pytest.raises(PruneError, match="Nothing was changed"):
        goes({"spark1": told({**MIDDLE, "busy": True})}, **asked)


def test_a_pinned_image_is_pinned_by_any_of_its_names() -> None:
    with pytest.raises(PruneError, match=r"stays: it is pinned \(prune_keep\)"):
        goes({"spark1": told(BUILT)}, keep=[BUILT["names"][0]], images=[BUILT["id"]])


def test_what_the_inventory_serves_stays_unless_it_is_named() -> None:
    served = {"lab/old": "spark_model", BASE_NAME: "spark_image"}
    members = {"spark1": told(OLD, MIDDLE, BASE, BUILT)}
    assert goes(members, free_gb=110, served=served) == {"spark1": ["lab/middle"]}
    assert goes(members, models=["lab/old"], served=served) == {"spark1": ["lab/old"]}


def test_a_name_is_exact() -> None:
    members = {"spark1": told(OLD, image("a:1", 1, 1, "x"), image("a:12", 1, 1, "y"))}
    assert goes(members, images=["a:1"]) == {"spark1": ["a:1"]}
    for word in ("lab/*", "lab/ol", "lab", "Lab/Old"):
        with pytest.raises(PruneError, match="no Spark has such a model"):
            goes(members, models=[word])
    for word in ("a", "a:*", identity("a:1")[:19]):
        with pytest.raises(PruneError, match="no Spark has such an image"):
            goes(members, images=[word])


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(PruneError, match=r"lab/old stays: .* lab/none: no Spark has .* x:1: no Spark has"):
        goes({"spark1": told(OLD, **USED)}, models=["lab/old", "lab/none"], images=["x:1"])


# --- images ----------------------------------------------------------------------------------------------------------


def test_an_image_and_what_it_was_built_from_go_together() -> None:
    """Alone, neither gives much: the layers of the one are those of the other."""
    members = {"spark1": told(BASE, BUILT)}
    assert goes(members, free_gb=101) == {"spark1": [BUILT["names"][0]]}
    assert goes(members, free_gb=102) == {"spark1": [BUILT["names"][0], BASE_NAME]}
    found = pruning.plan(members, Asked(free_gb=145))
    assert [one["called"] for one in pruning.to_remove(found)["spark1"]["images"]] == [BUILT["names"][0], BASE_NAME]
    with pytest.raises(PruneError, match=r"45\.00 GB can be made free"):
        goes(members, free_gb=146)


def test_what_a_needed_image_was_built_from_stays() -> None:
    needed = {"images": {BUILT["id"]: ["dgx-spark-trtllm"]}}
    members = {"spark1": told(BASE, BUILT, **needed)}
    with pytest.raises(PruneError, match="stays: dgx-spark/trtllm-serve:1 was built from it"):
        goes(members, images=[BASE_NAME])
    with pytest.raises(PruneError, match=r"0\.00 GB can be made free"):
        goes(members, free_gb=101)


def test_layers_that_another_image_has_come_not_free() -> None:
    old = image("dgx-spark/trtllm-serve:0", 46, 90, "abce", BASE_NAME)
    needed = {"images": {BUILT["id"]: ["dgx-spark-trtllm"]}}
    members = {"spark2": told(old, BUILT, **needed)}  # a worker, which has no base
    host = pruning.host_of("spark2", members["spark2"])
    going = [one for one in host.things if one.called == old["names"][0]]
    assert pruning.freed(host, going) == {1: 11.5 * GB}, "one of its four layers"


def test_images_and_models_have_room_of_their_own() -> None:
    members = {"spark1": told(OLD, BASE, BUILT, free=100, free_images=500)}
    assert goes(members, free_gb=120) == {"spark1": ["lab/old"]}
    members = {"spark1": told(OLD, BASE, BUILT, free=500, free_images=100)}
    assert goes(members, free_gb=120) == {"spark1": [BUILT["names"][0], BASE_NAME]}


def test_one_name_of_several_goes_and_the_image_stays() -> None:
    two = image("a:1", 5, 1, "x", names=["a:1", "b:1"])
    found = pruning.plan({"spark1": told(two)}, Asked(images=["b:1"]))
    assert found.removes == {"spark1": []}
    assert pruning.to_remove(found)["spark1"]["images"] == [{"id": two["id"], "names": ["b:1"], "called": "b:1"}]
    assert pruning.changes(found)["spark1"][0]["of"] == "b:1"
    pulled = image("a:1", 5, 1, "x", names=["a:1", "a@sha256:1"])
    found = pruning.plan({"spark1": told(pulled)}, Asked(images=["a:1"]))
    assert [one.called for one in found.removes["spark1"]] == ["a:1"], "its digest goes with its only tag"
    assert "removes image a:1" in found.lines[1]
    found = pruning.plan({"spark1": told({**pulled, "names": ["a:1", "a@sha256:1", "b:1"]})}, Asked(images=["a:1"]))
    assert pruning.to_remove(found)["spark1"]["images"][0]["names"] == ["a:1", "a@sha256:1"]
    whole = pruning.plan({"spark1": told(two)}, Asked(images=["b:1", "a:1"]))
    assert [one["names"] for one in pruning.to_remove(whole)["spark1"]["images"]] == [["a:1", "b:1"]]


def test_a_service_names_an_image_by_tag_and_digest() -> None:
    needed = {"images": {f"a:1@sha256:{'0' * 64}": ["web"]}}
    with pytest.raises(PruneError, match="a:1 stays: web on spark1 needs it"):
        goes({"spark1": told(image("a:1", 5, 1, "x"), **needed)}, images=["a:1"])


def test_the_plan_in_words() -> None:
    members = {"spark1": told(OLD, NEW, BUILT, models={"lab/new": ["dgx-spark-trtllm"]})}
    assert pruning.plan(members, Asked(free_gb=120)).lines == [
        "spark1: 100.00 GB are free on /, about 150.00 GB then",
        "  removes model lab/old (50.00 GB, last used 90 days ago)",
        "  keeps   model lab/new (60.00 GB): dgx-spark-trtllm on spark1 needs it",
    ]


THINGS = st.lists(
    st.builds(model, st.sampled_from([f"lab/m{one}" for one in range(9)]), st.integers(1, 60), st.integers(0, 99)),
    unique_by=lambda one: one["repo"],
)


@given(THINGS, THINGS, st.integers(0, 400), st.sets(st.sampled_from([f"lab/m{one}" for one in range(9)])))
def test_a_plan_makes_the_room_or_is_none_and_takes_nothing_that_is_needed(
    first: list[Any], second: list[Any], free_gb: int, needed: set[str]
) -> None:
    members = {
        "spark1": told(*first, models={repo: ["x"] for repo in needed}),
        "spark2": told(*second),
    }
    try:
        found = pruning.plan(members, Asked(free_gb=free_gb))
    except PruneError:
        most = min(
            100 + sum(one["bytes"] / GB for one in some if one["repo"] not in needed) for some in (first, second)
        )
        assert most < free_gb
        return
    for going in found.removes.values():
        assert not {one.key for one in going} & needed
        room = 100 * GB + sum(one.bytes for one in going)
        assert room >= free_gb * GB or not going
        assert all(room - one.bytes < free_gb * GB for one in going)  # each of them is needed
