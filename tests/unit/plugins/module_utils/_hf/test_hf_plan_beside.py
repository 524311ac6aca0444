# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned where a draft model comes beside the model: what each needs alone, and once what is one."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.plan import (
    BRING,
    CHANGES,
    CLIENT,
    KEY,
    LINK,
    Asked,
    ModelPlanError,
    brings,
    plan,
    receivers,
    report,
    room,
)
from hypothesis import given
from hypothesis import strategies as st

MEMBERS = ("spark1", "spark2", "spark3")
MODEL, DRAFT = ({"repo": repo, "commit": "c" * 40, "revision": "main"} for repo in ("lab/tiny", "lab/draft"))
ALONE = Asked(MEMBERS, MODEL, "hub", "http://hub", False, 20, "2.4.0")
ASKED = ALONE._replace(beside=[DRAFT], hub="http://hub")
DISK = {"device": 1, "mount": "/", "free_bytes": 100_000_000_000}
HAS: dict[str, Any] = {
    "missing": [],
    "corrupt": [],
    "unlinked": [],
    "problems": [],
    "index_problems": [],
    "obstacles": [],
    "ref_missing": False,
    "to_do": False,
    "needed_bytes": 0,
    "free_bytes": DISK["free_bytes"],
    "filesystem": DISK,
    "repo_dir": "/hf/models--lab--tiny",
    "left_behind": {"key": False, "authorized_key": False},
}
LACKS = {**HAS, "missing": ["a"], "problems": ["a: is missing"], "to_do": True, "needed_bytes": 5_000_000_000}
UNLINKED = {**HAS, "unlinked": ["a"], "to_do": True}
LEFT = {**HAS, "left_behind": {"key": True, "authorized_key": False}}


def host(model: dict[str, Any], draft: dict[str, Any], tool: str = "2.4.0") -> dict[str, Any]:
    """What one Spark has of both."""
    own = {"tool_version": tool, "missing_packages": [], "unavailable_packages": []}
    return {**model, **own, "beside": [{**draft, "repo_dir": "/hf/models--lab--draft"}]}


def named(changes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(change["name"], change.get("of", "")) for change in changes]


def of(repo: str, changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**change, "of": ""} for change in changes if change["of"] == repo]


def test_both_are_downloaded_and_copied_by_one_client() -> None:
    found = {name: host(LACKS, LACKS, tool="") for name in MEMBERS}
    changes = plan(ASKED, found)
    assert [change["name"] for change in changes["spark1"]] == [CLIENT, BRING, BRING]
    assert [change["diff"]["after"] for change in changes["spark1"]] == [
        "huggingface_hub 2.4.0\n",
        "Download lab/tiny@ccccccc from http://hub (1 file, 5.00 GB)\n",
        "Download lab/draft@ccccccc from http://hub (1 file, 5.00 GB)\n",
    ]
    assert named(changes["spark2"]) == [(BRING, "lab/tiny"), (BRING, "lab/draft")]
    assert brings(ASKED, found) == [
        {
            "repo": repo,
            "hosts": [*MEMBERS],
            "receivers": ["spark2", "spark3"],
            "directory": f"/hf/models--{repo.replace('/', '--')}/blobs",
        }
        for repo in ("lab/tiny", "lab/draft")
    ]


def test_changes_stand_in_the_order_in_which_they_are_made() -> None:
    found = {
        "spark1": host(UNLINKED, LACKS),
        "spark2": host(LEFT, UNLINKED),
        "spark3": host(LACKS, LEFT),
    }
    changes = plan(ASKED, found)
    assert named(changes["spark1"]) == [(BRING, "lab/draft"), (LINK, "lab/tiny")]
    # A copy of the model removes what an earlier copy of the model left, and no copy of the draft is made.
    assert named(changes["spark2"]) == [(LINK, "lab/draft")]
    assert named(changes["spark3"]) == [(BRING, "lab/tiny"), (KEY, "lab/draft")]
    assert [(row["repo"], row["hosts"], row["receivers"]) for row in brings(ASKED, found)] == [
        ("lab/tiny", ["spark3"], ["spark3"]),
        ("lab/draft", ["spark1"], []),
    ]
    assert receivers(ASKED, found) == ["spark3"]


def test_the_draft_of_a_directorys_model_comes_from_the_hub_by_the_client() -> None:
    asked = ASKED._replace(source="directory", place="/made", linkable=True)
    found = {name: host(LACKS, LACKS, tool="") for name in MEMBERS}
    assert [change["diff"]["after"] for change in plan(asked, found)["spark1"]] == [
        "huggingface_hub 2.4.0\n",
        "Take lab/tiny@ccccccc from /made (1 file, 5.00 GB)\n",
        "Download lab/draft@ccccccc from http://hub (1 file, 5.00 GB)\n",
    ]
    assert [need["what"] for need in room(asked, found)["spark1"]] == ["lab/draft"], "links take no room"
    assert [need["what"] for need in room(asked, found)["spark2"]] == ["lab/tiny", "lab/draft"]
    there = {name: host(LACKS, HAS, tool="") for name in MEMBERS}
    assert CLIENT not in [change["name"] for change in plan(asked, there)["spark1"]]


def refusal(found: dict[str, Any]) -> str:
    with pytest.raises(ModelPlanError) as refused:
        plan(ASKED, found)
    return str(refused.value)


def small(free: int, model: dict[str, Any], draft: dict[str, Any], device: int = 1) -> dict[str, Any]:
    disk = {"free_bytes": free, "filesystem": {**DISK, "free_bytes": free}}
    other = {**disk, "filesystem": {**disk["filesystem"], "device": device}}
    return host({**model, **disk}, {**draft, **other})


def test_what_fits_alone_and_not_together_is_refused() -> None:
    rest = {name: host(HAS, HAS) for name in MEMBERS}
    assert refusal({**rest, "spark2": small(29_000_000_000, LACKS, LACKS)}) == (
        "spark2: /: 5.00 GB for lab/tiny in /hf/models--lab--tiny + 5.00 GB for lab/draft in /hf/models--lab--draft "
        "= 10.00 GB at once, 29.00 GB are free, and 20 GB are to stay free (hf_cache_reserve_gb): make room, or name a "
        "cache on a larger disk (hf_cache_dir). Nothing was changed."
    )
    assert plan(ASKED, {**rest, "spark2": small(30_000_000_000, LACKS, LACKS)})
    assert plan(ASKED, {**rest, "spark2": small(29_000_000_000, LACKS, LACKS, device=2)}), "on two disks"
    assert plan(ASKED, {**rest, "spark2": small(29_000_000_000, LACKS, HAS)})
    assert "spark2: lab/draft needs 5.00 GB more in /hf/models--lab--draft" in refusal(
        {**rest, "spark2": small(24_000_000_000, HAS, LACKS)}
    )


def test_what_is_wrong_with_the_cache_is_told_once_and_of_each_model_what_is_its_own() -> None:
    closed = {**LACKS, "obstacles": ["/hf belongs to root"]}
    rest = {name: host(HAS, HAS) for name in MEMBERS}
    assert refusal({**rest, "spark1": host(closed, closed)}) == "spark1: /hf belongs to root. Nothing was changed."
    wrong = {**HAS, "index_problems": ["index: names b"]}
    assert refusal({**rest, "spark3": host(HAS, wrong)}) == "spark3: index: names b. Nothing was changed."


STATES = st.sampled_from([HAS, LACKS, UNLINKED, LEFT])


@given(st.lists(st.tuples(STATES, STATES), min_size=3, max_size=3))
def test_a_pair_is_planned_as_each_of_both_alone(states: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    pair = {name: host(*both) for name, both in zip(MEMBERS, states)}
    first = {name: {**found, "beside": []} for name, found in pair.items()}
    second = {name: {**found, **found["beside"][0], "beside": []} for name, found in pair.items()}
    together, draft = plan(ASKED, pair), ALONE._replace(model=DRAFT)
    for name in MEMBERS:
        assert of("lab/tiny", together[name]) == [{**change, "of": ""} for change in plan(ALONE, first)[name]]
        assert of("lab/draft", together[name]) == [{**change, "of": ""} for change in plan(draft, second)[name]]
        order = [CHANGES.index(change["name"]) for change in together[name]]
        assert order == sorted(order)
    rows = brings(ASKED, pair)
    assert rows == brings(ALONE, first) + brings(draft, second)
    assert {*receivers(ASKED, pair)} == {one for row in rows for one in row["receivers"]}
    told = {(row["repo"], name) for row in rows for name in row["hosts"]}
    assert told == {(one["of"], name) for name in MEMBERS for one in together[name] if one["name"] == BRING}
    each = [room(ALONE, first), room(draft, second)]
    assert room(ASKED, pair) == {name: each[0][name] + each[1][name] for name in MEMBERS}


FACTS = {"repo": "lab/tiny", "commit": "c" * 40, "repo_dir": "/r", "snapshot": "/s", "files": 3, "bytes": 11002}
OWN = {**FACTS, "repo": "lab/draft", "snapshot": "/d"}
PLANNED = {**FACTS, "changes": {"spark1": []}, "complete": True, "problems": []}


def test_a_report_has_both() -> None:
    planned = {**PLANNED, "beside": [{**OWN, "complete": True, "problems": [], "tensors": []}]}
    assert report("spark1", planned, None, applied=False) == {**FACTS, "beside": [OWN]}
    verified = {**FACTS, "snapshot": "/new", "problems": [], "beside": [{**OWN, "snapshot": "/newer"}]}
    told = report("spark1", planned, verified, applied=True)
    assert (told["snapshot"], told["beside"][0]["snapshot"]) == ("/new", "/newer")


def test_no_report_of_a_draft_that_is_not_there() -> None:
    draft = {**OWN, "complete": False, "problems": ["a: is missing"]}
    left = {"spark1": [{"name": BRING, "of": "lab/draft"}]}
    with pytest.raises(ModelPlanError) as refused:
        report("spark1", {**PLANNED, "changes": left, "beside": [draft]}, None, applied=False)
    assert str(refused.value) == (
        "spark1 is not as planned: Download or copy the model: lab/draft (lab/draft: a: is missing). Run the playbook, "
        "or see it with --check --diff."
    )
    with pytest.raises(ModelPlanError, match="spark1: lab/draft was brought, and not verified"):
        report("spark1", {**PLANNED, "beside": [draft]}, None, applied=True)
