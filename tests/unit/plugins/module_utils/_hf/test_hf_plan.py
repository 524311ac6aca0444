# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned for a model: by hand, and over caches that are spoilt in every way."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import cache as hf_cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import plan as hf_plan
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import Model
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.plan import Asked, ModelPlanError, plan, report
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile
from hypothesis import given, settings
from hypothesis import strategies as st

MEMBERS = ("spark1", "spark2", "spark3")
CONTENTS = {"config.json": b"{}", "a.safetensors": b"a" * 5000, "b.safetensors": b"b" * 6000}
FILES = tuple(HashedFile(path, len(one), sha256=hashlib.sha256(one).hexdigest()) for path, one in CONTENTS.items())
MODEL = Model("lab/tiny", "c" * 40, "main", tuple(sorted(FILES)))
ASKED = Asked(MEMBERS, MODEL.as_dict(), "hub", "http://hub", False, 20, "2.4.0")
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
    "free_bytes": 100_000_000_000,
    "repo_dir": "/hf/hub/models--lab--tiny",
    "tool_version": "2.4.0",
    "missing_packages": [],
    "left_behind": {"key": False, "authorized_key": False},
}
LACKS = {
    **HAS,
    "missing": ["a.safetensors"],
    "problems": ["a.safetensors: is missing"],
    "to_do": True,
    "needed_bytes": 5_000_000_000,
}


def names(changes: dict[str, list[Any]]) -> dict[str, list[str]]:
    return {host: [change["name"] for change in own] for host, own in changes.items()}


def test_nothing_is_planned_where_all_is_there() -> None:
    assert plan(ASKED, dict.fromkeys(MEMBERS, HAS)) == {host: [] for host in MEMBERS}


def test_a_list_of_files_that_were_left_out_is_removed() -> None:
    (change,) = plan(
        ASKED, {**dict.fromkeys(MEMBERS, HAS), "spark1": {**HAS, "to_do": True, "over_listed": ["x", "y"]}}
    )["spark1"]
    assert change["name"] == "Link the model's files"
    assert (
        change["diff"]["after"]
        == "Remove the list of all files of lab/tiny@ccccccc, which names 2 files that are not here\n"
    )


def test_a_first_run_in_words_and_figures() -> None:
    bare = {**LACKS, "tool_version": "", "missing_packages": ["python3-venv"]}
    changes = plan(ASKED, {"spark1": bare, "spark2": LACKS, "spark3": HAS})
    assert names(changes) == {
        "spark1": [
            "Install the packages that Python environments need",
            "Install the hf client",
            "Download or copy the model",
        ],
        "spark2": ["Download or copy the model"],
        "spark3": [],
    }
    assert [change["diff"]["after"] for change in changes["spark1"]] == [
        "python3-venv\n",
        "huggingface_hub 2.4.0\n",
        "Download lab/tiny@ccccccc from http://hub (1 file, 5.00 GB)\n",
    ]
    assert changes["spark2"][0]["diff"] == {
        "before": "a.safetensors: is missing\n",
        "after": "Copy lab/tiny@ccccccc from spark1 (1 file, 5.00 GB)\n",
    }


def test_a_worker_that_copies_needs_no_client() -> None:
    found = {key: {**LACKS, "tool_version": "", "missing_packages": ["python3-venv"]} for key in MEMBERS}
    assert names(plan(ASKED, {**found, "spark1": {**HAS, "tool_version": ""}})) == {
        "spark1": [],
        "spark2": ["Download or copy the model"],
        "spark3": ["Download or copy the model"],
    }


def test_another_version_of_the_client_is_replaced_only_to_download() -> None:
    old = {"tool_version": "2.0.0"}
    changes = plan(ASKED, {**dict.fromkeys(MEMBERS, HAS), "spark1": {**LACKS, **old}})["spark1"]
    assert changes[0]["diff"] == {"before": "huggingface_hub 2.0.0\n", "after": "huggingface_hub 2.4.0\n"}
    assert names(plan(ASKED, {key: {**HAS, **old} for key in MEMBERS})) == {host: [] for host in MEMBERS}


def test_a_directory_is_taken_without_a_client() -> None:
    asked = ASKED._replace(source="directory", place="/made")
    (change,) = plan(asked, {**dict.fromkeys(MEMBERS, HAS), "spark1": {**LACKS, "tool_version": ""}})["spark1"]
    assert change["diff"]["after"] == "Take lab/tiny@ccccccc from /made (1 file, 5.00 GB)\n"


def test_what_is_only_not_linked_is_linked() -> None:
    found = {**HAS, "unlinked": ["a.safetensors"], "ref_missing": True, "to_do": True}
    (change,) = plan(ASKED, {**dict.fromkeys(MEMBERS, HAS), "spark2": found})["spark2"]
    assert change["name"] == "Link the model's files"
    assert change["diff"]["after"] == ("Link 1 file of lab/tiny@ccccccc\nNote the commit of the revision main\n")


def test_what_an_interrupted_copy_left_is_a_change_of_its_own_unless_a_copy_comes() -> None:
    left = {"key": True, "authorized_key": False}
    found = {**dict.fromkeys(MEMBERS, HAS), "spark2": {**HAS, "left_behind": left}}
    found["spark1"] = {**HAS, "left_behind": {"key": False, "authorized_key": True}}
    assert names(plan(ASKED, found)) == {
        "spark1": ["Remove the authorized keys of an interrupted copy"],
        "spark2": ["Remove the key of an interrupted copy"],
        "spark3": [],
    }
    assert names(plan(ASKED, {**found, "spark3": LACKS})) == {
        "spark1": [],
        "spark2": [],
        "spark3": ["Download or copy the model"],
    }


def test_a_diff_names_ten_files_at_most() -> None:
    many = {**LACKS, "problems": [f"{number}: is missing" for number in range(13)]}
    (change,) = plan(ASKED, {**dict.fromkeys(MEMBERS, HAS), "spark2": many})["spark2"]
    assert change["diff"]["before"].splitlines()[9:] == ["9: is missing", "and 3 more"]


def test_every_host_that_cannot_is_named_and_nothing_is_changed() -> None:
    full = {**LACKS, "free_bytes": 24_990_000_000}
    foreign = {**LACKS, "obstacles": ["/hf belongs to root: sudo chown -R nvidia: /hf"]}
    with pytest.raises(ModelPlanError) as refused:
        plan(ASKED, {"spark1": full, "spark2": foreign, "spark3": LACKS})
    assert str(refused.value) == (
        "spark1: lab/tiny needs 5.00 GB more in /hf/hub/models--lab--tiny and 20 GB are to stay free "
        "(hf_cache_reserve_gb), but 24.99 GB are free: make room, or name a cache on a larger disk (hf_cache_dir). "
        "spark2: /hf belongs to root: sudo chown -R nvidia: /hf. Nothing was changed."
    )
    assert "1000000 GB are to stay free" in refusal(ASKED._replace(reserve_gb=10**6), LACKS)
    assert refusal(ASKED, {**full, "free_bytes": 25_000_000_000}) == ""


def refusal(asked: Asked, found: Any) -> str:
    try:
        plan(asked, dict.fromkeys(MEMBERS, found))
    except ModelPlanError as error:
        return str(error)
    return ""


def test_a_package_that_no_source_has_is_refused_where_the_leader_installs() -> None:
    lacks = {**LACKS, "unavailable_packages": ["python3-venv"]}
    said = refusal(ASKED, lacks)
    assert said.startswith("spark1: no package source has python3-venv: update the lists (sudo apt-get update)")
    assert said.endswith("Nothing was changed.")
    assert "spark2" not in said
    assert refusal(ASKED, {**HAS, "unavailable_packages": ["python3-venv"]}) == "", "nothing is installed"
    assert refusal(ASKED._replace(source="directory"), lacks) == ""


def test_hard_links_need_no_room() -> None:
    asked = ASKED._replace(source="directory", linkable=True)
    full = {**LACKS, "free_bytes": 0}
    assert plan(asked, {**dict.fromkeys(MEMBERS, HAS), "spark1": full})["spark1"]
    with pytest.raises(ModelPlanError, match="spark2: lab/tiny needs 5"):
        plan(asked, {**dict.fromkeys(MEMBERS, HAS), "spark2": full})


def test_obstacles_do_not_matter_where_nothing_is_to_do() -> None:
    assert refusal(ASKED, {**HAS, "obstacles": ["/hf belongs to root"]}) == ""


def test_a_model_whose_index_names_other_files_is_refused() -> None:
    wrong = {**HAS, "index_problems": ["model.safetensors.index.json: names c, which is no file of this revision"]}
    assert "spark1: model.safetensors.index.json: names c" in refusal(ASKED, wrong)


PLANNED = {"changes": {"spark1": [], "spark2": [{"name": "Link the model's files"}]}, "complete": True, "problems": []}
FACTS = {"repo": "lab/tiny", "commit": "c" * 40, "repo_dir": "/r", "snapshot": "/s", "files": 3, "bytes": 11002}


def test_a_report_of_what_the_plan_has_seen() -> None:
    assert report("spark1", {**PLANNED, **FACTS}, None, applied=False) == {**FACTS, "beside": []}


def test_a_report_of_what_was_verified_since() -> None:
    planned = {**PLANNED, **FACTS, "complete": False, "snapshot": "/old"}
    assert report("spark2", planned, FACTS, applied=True) == {**FACTS, "beside": []}
    with pytest.raises(ModelPlanError, match="spark2: lab/tiny was brought, and not verified"):
        report("spark2", planned, None, applied=True)


def test_no_report_where_changes_are_left() -> None:
    planned = {**PLANNED, **FACTS, "problems": ["config.json: its sha256 is 0"]}
    says = (
        "spark2 is not as planned: Link the model's files (config.json: its sha256 is 0). Run the playbook, or see it "
        "with --check --diff."
    )
    with pytest.raises(ModelPlanError) as refused:
        report("spark2", planned, None, applied=False)
    assert str(refused.value) == says


SPOIL = ("leave", "missing", "flipped", "unlinked")
DAMAGE = st.fixed_dictionaries({path: st.sampled_from(SPOIL) for path in CONTENTS})


def seen(cache: hf_cache.Cache) -> dict[str, Any]:
    """What hf_cache_info returns of a cache."""
    found = hf_cache.look(cache, MODEL, hf_cache.Notes(cache.notes))
    return {**HAS, **hf_cache.describe(cache, MODEL, found), "problems": found.wrong()}


def bring(cache: hf_cache.Cache) -> None:
    def fetch(files: list[HashedFile]) -> str:
        cache.blobs.mkdir(parents=True, exist_ok=True)
        for file in files:
            (cache.blobs / file.blob).write_bytes(CONTENTS[file.path])
        return ""

    hf_cache.bring(cache, MODEL, hf_cache.Notes(cache.notes), fetch, 2, [], sleep=lambda _seconds: None)


def spoil(cache: hf_cache.Cache, damage: dict[str, str]) -> None:
    for file in MODEL.files:
        blob, how = cache.blobs / file.blob, damage[file.path]
        if how == "missing":
            blob.unlink()
        elif how == "flipped":
            blob.write_bytes(b"X" * file.size)
        elif how == "unlinked":
            (cache.snapshot(MODEL.commit) / file.path).unlink()


@settings(max_examples=25, deadline=None)
@given(st.tuples(DAMAGE, DAMAGE, DAMAGE))
def test_the_plan_lists_the_damage_and_over_what_it_makes_lists_nothing(damages: tuple[dict[str, str], ...]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        caches = {host: hf_cache.Cache(Path(folder, host), MODEL.repo) for host in MEMBERS}
        for cache, damage in zip(caches.values(), damages):
            bring(cache)
            spoil(cache, damage)
        asked = ASKED._replace(reserve_gb=0)
        planned = names(plan(asked, {host: seen(cache) for host, cache in caches.items()}))
        for host, damage in zip(MEMBERS, damages):
            hit = set(damage.values()) - {"leave"}
            wanted = [hf_plan.LINK] if hit == {"unlinked"} else [hf_plan.BRING] if hit else []
            assert planned[host] == wanted
            if planned[host]:
                bring(caches[host])
        assert plan(asked, {host: seen(cache) for host, cache in caches.items()}) == {host: [] for host in MEMBERS}
