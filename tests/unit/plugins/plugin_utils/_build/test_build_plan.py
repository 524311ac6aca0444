# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a build from source: what is refused before anything is changed, and what the leader is told to run."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import layout
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._build import plan as planning
from hypothesis import given
from hypothesis import strategies as st

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WANTED = planning.Wanted(commit=COMMIT, url="https://git.example/trtllm.git", archs="120-real", target="release_build")
FOLDER = "/var/lib/dgx-spark/build"
IMAGE = {"id": "sha256:1", "names": [layout.image_name(COMMIT)], "commit": COMMIT, "archs": "120-real", "bytes": 7}


def host(name: str = "spark1", **more: Any) -> planning.Host:
    place = {"device": 1, "mount": "/", "free_bytes": 900 * 10**9}
    found = {
        **{"images": [], "state": {}, "active": False, "commit": COMMIT, "commit_problem": "", "cores": 20},
        **{"missing_packages": [], "unavailable_packages": [], "docker_problem": "", "model_problem": ""},
        "memory": {"total_mib": 122880, "available_mib": 110000},
        "rooms": {one: {"path": path, "filesystem": place} for one, path in (("docker", "/d"), ("source", "/s"))},
    }
    return planning.Host(name, {**found, **more})


def names(planned: dict[str, Any]) -> dict[str, list[str]]:
    return {name: [one["name"] for one in some] for name, some in planned["changes"].items()}


def test_a_build_and_its_copy() -> None:
    planned = planning.plan(WANTED, [host(missing_packages=["git-lfs"]), host("spark2")], FOLDER)
    assert names(planned) == {"spark1": [planning.PACKAGES, planning.BUILD], "spark2": [planning.LOAD]}
    assert (planned["commit"], planned["id"], planned["receivers"]) == (COMMIT, "", ["spark2"])
    assert planned["jobs"] == 15, "(110000 - 16384) / 6144"
    assert "63.00 GB for Docker's build" in planned["room"][0]
    assert [stage["name"] for stage in planned["request"]["stages"]] == [
        *("init", "remote", "fetch", "checkout", "clean", "submodules", "lfs", "large", "larger", "build")
    ]
    make = planned["request"]["stages"][-1]["argv"]
    assert make[:4] == ["make", "-C", f"{FOLDER}/source/docker", "release_build"]
    assert {"CUDA_ARCHS=120-real", f"GIT_COMMIT={COMMIT}", "BUILD_WHEEL_OPTS=--job_count 15"} < set(make)
    fetch = planned["request"]["stages"][2]["argv"]
    assert fetch[-2:] == ["origin", COMMIT]
    assert "--depth=1" in fetch


def test_what_is_built_is_copied_alone_and_looked_up_by_its_label() -> None:
    planned = planning.plan(WANTED, [host(images=[IMAGE], cores=1), host("spark2"), host("spark3", images=[IMAGE])], FOLDER)
    assert names(planned) == {"spark1": [], "spark2": [planning.LOAD], "spark3": []}
    assert (planned["id"], planned["request"]) == ("sha256:1", {})
    for other in ({"archs": "90-real"}, {"names": []}, {"commit": "f" * 40}):
        planned = planning.plan(WANTED, [host(images=[{**IMAGE, **other}])], FOLDER)
        assert names(planned) == {"spark1": [planning.BUILD]}, other


def test_several_architectures_are_found_by_their_label() -> None:
    wanted = replace(WANTED, archs="90-real;120-real")
    planned = planning.plan(wanted, [host(images=[{**IMAGE, "archs": "90-real,120-real"}])], FOLDER)
    assert planned["id"] == "sha256:1"


def test_without_a_spread_the_others_stay_as_they_are() -> None:
    planned = planning.plan(replace(WANTED, spread=False), [host(), host("spark2")], FOLDER)
    assert names(planned)["spark2"] == []


def test_the_commit_of_a_tag_is_pinned() -> None:
    assert planning.plan(replace(WANTED, commit="v1"), [host()], FOLDER)["commit"] == COMMIT


def again(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    own = planning.request(WANTED, COMMIT, 1, FOLDER)["id"]
    return planning.plan(WANTED, [host(state={"id": own, **state}, **more)], FOLDER)


def test_what_was_interrupted_asks_for_no_room_again_and_what_runs_for_no_memory() -> None:
    full = {"docker": 0, "source": 0}
    rooms = {
        name: {"path": f"/{name}", "filesystem": {"device": 1, "mount": "/", "free_bytes": free}}
        for name, free in full.items()
    }
    planned = again({"phase": "running"}, rooms=rooms)
    assert planned["outcome"] == "interrupted"
    memory = {"total_mib": 122880, "available_mib": 1000}
    planned = again({"phase": "running"}, active=True, rooms=rooms, memory=memory)
    assert (planned["outcome"], planned["jobs"]) == ("running", 0)
    assert names(planned) == {"spark1": [planning.BUILD]}
    with pytest.raises(planning.BuildError, match="has no room"):
        again({"phase": "done"}, rooms=rooms)


def test_how_many_compilers_run_is_no_other_build() -> None:
    ids = {planning.request(WANTED, COMMIT, jobs, FOLDER)["id"] for jobs in (1, 20)}
    ids.add(planning.request(replace(WANTED, reserve_gb=1, jobs=4), COMMIT, 4, FOLDER)["id"])
    assert len(ids) == 1
    for other in (replace(WANTED, archs="90-real;120-real"), replace(WANTED, make=["BASE_TAG=1"])):
        assert planning.request(other, COMMIT, 1, FOLDER)["id"] not in ids


SMALL = {"docker": {"path": "/d", "filesystem": {"device": 2, "mount": "/d", "free_bytes": 60 * 10**9}}}


@pytest.mark.parametrize(
    ("wanted", "found", "said"),
    [
        ({"commit": ""}, {}, "image_build_commit is empty"),
        ({"commit": "v9"}, {"commit": "", "commit_problem": "no such tag"}, "cannot tell which commit 'v9'.*no such tag"),
        ({"archs": "90-real"}, {}, "image_build_archs: none of 90-real runs on sm_121"),
        ({}, {"memory": {"total_mib": 122880, "available_mib": 20000}}, "20000 MiB of memory available, and .* 6144"),
        ({}, {"unavailable_packages": ["git-lfs"]}, "lacks git-lfs, and no package source"),
        ({}, {"docker_problem": "Docker Engine does not answer"}, "spark1: Docker Engine does not answer"),
        ({}, {"foreign": ["source"]}, "source, which no build has made"),
        ({"url": "https://me:hf_secret@git.example/a.git"}, {}, "image_build_url has a user or a password"),
        ({"url": "https://ghp_secret@git.example/a.git"}, {}, "image_build_url has a user or a password"),
        ({"url": "https://git.example/a.git;reboot"}, {}, "image_build_url has characters"),
        ({"model": "a/b"}, {"model_problem": "a/b is not in /hub"}, "a/b is not in /hub"),
        ({}, {"active": True, "state": {"id": "x", "what": "another"}}, "spark1 is building another"),
        ({}, {"rooms": {**host().found["rooms"], **SMALL}}, "spark1 has no room .*63.00 GB for Docker's build .* 60.00 GB are free"),
    ],
)
def test_what_is_refused_before_anything_changes(wanted: dict[str, Any], found: dict[str, Any], said: str) -> None:
    with pytest.raises(planning.BuildError) as raised:
        planning.plan(replace(WANTED, **wanted), [host(**found)], FOLDER)
    assert re.search(said, str(raised.value))
    assert str(raised.value).endswith("Nothing was changed.")


def test_a_worker_without_room_is_told_before_hours_are_spent() -> None:
    small = {**host().found["rooms"], **SMALL}
    with pytest.raises(planning.BuildError, match="spark2 has no room"):
        planning.plan(WANTED, [host(), host("spark2", rooms=small)], FOLDER)


@given(st.integers(0, 300000), st.integers(0, 300000), st.integers(1, 64), st.integers(0, 64))
def test_compilers_leave_the_memory_that_is_to_stay_free(total: int, available: int, cores: int, jobs: int) -> None:
    found = host(memory={"total_mib": total, "available_mib": available}, cores=cores)
    try:
        count = planning.jobs_of(replace(WANTED, jobs=jobs), found)
    except planning.BuildError:
        return
    assert count >= 1
    if jobs:
        assert count == jobs
    else:
        assert count <= cores
        share = min(total or 122880, 122880) / 122880
        assert available - count * (int(6144 * share) - 1) >= int(16384 * share) - 2
