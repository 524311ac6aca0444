# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/prune.yml on two virtual Sparks: room by last use, names exactly, and nothing that is served or pinned.

The models lie in a small file system of their own, since all virtual Sparks share the disk of this machine with others.
It notes no reads, since those of a test are no use.
"""

from __future__ import annotations

from typing import Any, Iterator

import pytest

from .conftest import SPARKS, Lab, Pair, Run, brought_up, taken_down
from .state import BY_SERVING, captured, differences

pytestmark = pytest.mark.matrix

CACHE = "/var/lib/huggingface"
#: by model, how many days ago it was used, and whether this collection brought it
MODELS = {
    "lab/oldest": (90, True),
    "lab/old": (60, True),
    "lab/old-2": (60, True),
    "lab/new": (1, True),
    "other/foreign": (900, False),
}
#: an image of nothing but labels
IMPORT = "tar --create --files-from /dev/null | sudo docker import {options} - {name}"
OURS = "--change 'LABEL dgx-spark=trtllm-serve'"


def folder(repo: str) -> str:
    return f"models--{repo.replace('/', '--')}"


@pytest.fixture(scope="module")
def sparks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two Sparks on which no role ever ran, with a file system for models."""
    one = brought_up(tmp_path_factory.mktemp("prune"), virtual_spark_count=2)
    for name in one.names:
        mount = f"sudo mount -t tmpfs -o size=1000m,noatime,mode=0755,uid=$(id -u),gid=$(id -g) tmpfs {CACHE}"
        one.host(name).check_output(f"sudo mkdir {CACHE} && {mount}")
    yield one
    taken_down(one)


@pytest.fixture
def stocked(sparks: Lab) -> Lab:
    """The Sparks with all models, as they were when each was last used."""
    for name in sparks.names:
        host = sparks.host(name)
        host.check_output(f"rm -rf {CACHE}/hub {CACHE}/.dgx-spark; mkdir -p {CACHE}/.dgx-spark")
        for repo, (days, noted) in MODELS.items():
            blobs = f"{CACHE}/hub/{folder(repo)}/blobs"
            host.check_output(f"mkdir -p {blobs} && head -c 100000000 /dev/zero >{blobs}/x")
            host.check_output(f"touch -d '{days} days ago' {blobs}/x")
            if noted:
                host.check_output(f"echo {{}} >{CACHE}/.dgx-spark/{folder(repo)}.json")
    return sparks


def prune(lab: Lab, check: bool = False, **options: Any) -> Run:
    return lab.play("prune.yml", check=check, hf_cache_dir=CACHE, **options)


def there(lab: Lab, name: str) -> set[str]:
    """The models that a Spark has."""
    listed = lab.host(name).check_output(f"ls {CACHE}/hub 2>/dev/null || true").split()
    return {repo for repo in MODELS if folder(repo) in listed}


def gone(lab: Lab, name: str) -> set[str]:
    return set(MODELS) - there(lab, name)


def test_what_was_used_longest_ago_goes_where_room_lacks_and_a_dry_run_shows_it(stocked: Lab) -> None:
    """Of 1049 MB 500 are taken: to have 720 free, two models go; where one is gone already, one."""
    stocked.host("spark2").check_output(f"rm -r {CACHE}/hub/{folder('lab/new')}")
    before = captured(stocked)
    foretold = prune(stocked, check=True, prune_free_gb=0.72)
    assert foretold.status == "successful", foretold.said
    assert differences(before, captured(stocked)) == []
    assert "removes model lab/oldest (0.10 GB, last used 90 days ago)" in foretold.words
    planned = foretold.results("Show the planned changes")
    assert planned["spark1"]["planned"] == ["Remove the model: lab/oldest", "Remove the model: lab/old"]
    assert planned["spark2"]["planned"] == ["Remove the model: lab/oldest"]
    run = prune(stocked, prune_free_gb=0.72)
    assert run.status == "successful", run.said
    assert (gone(stocked, "spark1"), gone(stocked, "spark2")) == (
        {"lab/oldest", "lab/old"},
        {"lab/oldest", "lab/new"},
    )
    again = prune(stocked, prune_free_gb=0.72)
    assert (again.status, again.changed) == ("successful", {}), again.said


def test_what_is_pinned_and_what_others_brought_stays(stocked: Lab) -> None:
    run = prune(stocked, prune_free_gb=0.72, prune_keep="lab/oldest,lab/old")
    assert run.status == "successful", run.said
    assert gone(stocked, "spark1") == {"lab/old-2", "lab/new"}
    refused = prune(stocked, prune_free_gb=0.9, prune_keep="lab/oldest,lab/old")
    assert refused.status == "failed"
    assert "can be made free of what this collection brought and nothing needs" in refused.words
    assert "Nothing was changed." in refused.words
    assert gone(stocked, "spark1") == {"lab/old-2", "lab/new"}


def test_a_name_is_exact_and_goes_from_all_whoever_brought_it(stocked: Lab) -> None:
    run = prune(stocked, prune_models="lab/old,other/foreign")
    assert run.status == "successful", run.said
    assert [gone(stocked, name) for name in SPARKS] == [{"lab/old", "other/foreign"}] * 2
    for name in ("lab/ol*", "lab/none"):
        refused = prune(stocked, prune_models=f"lab/new,{name}")
        assert refused.status == "failed"
        assert f"{name}: no Spark has such a model" in refused.words
    assert "lab/new" in there(stocked, "spark1")


def test_what_a_container_of_one_spark_has_mounted_stays_on_both(stocked: Lab) -> None:
    """Also when it does not run: it may be started again."""
    spark = stocked.host("spark2")
    spark.check_output(IMPORT.format(options="", name="theirs:1"))
    spark.check_output(f"sudo docker create --name holds -v {CACHE}/hub/{folder('lab/oldest')}:/m:ro theirs:1 x")
    try:
        refused = prune(stocked, prune_models="lab/oldest")
        assert refused.status == "failed"
        assert "lab/oldest stays: holds on spark2 needs it. Nothing was changed." in refused.words
        taken = prune(stocked, prune_images="theirs:1")
        assert "theirs:1 stays: holds on spark2 needs it" in taken.words
        run = prune(stocked, prune_free_gb=0.55)
        assert run.status == "successful", run.said
        assert [gone(stocked, name) for name in SPARKS] == [{"lab/old"}] * 2
    finally:
        spark.check_output("sudo docker rm holds && sudo docker image rm theirs:1")


def test_an_image_goes_by_its_name_and_no_other(stocked: Lab) -> None:
    spark = stocked.host("spark1")
    spark.check_output(IMPORT.format(options=OURS, name="dgx-spark/trtllm-serve:old"))
    spark.check_output(IMPORT.format(options="--message other", name="theirs:1"))
    spark.check_output("sudo docker tag theirs:1 theirs:2")
    try:
        run = prune(stocked, prune_images="dgx-spark/trtllm-serve:old,theirs:2")
        assert run.status == "successful", run.said
        left = spark.check_output("sudo docker image ls --format '{{.Repository}}:{{.Tag}}'").split()
        assert "theirs:1" in left
        assert not {"dgx-spark/trtllm-serve:old", "theirs:2"} & set(left)
    finally:
        spark.check_output("sudo docker image rm theirs:1")


def test_what_is_not_asked_for_is_not_done(stocked: Lab) -> None:
    run = prune(stocked)
    assert run.status == "failed"
    assert "Nothing is asked for" in run.words
    alone = stocked.play("prune.yml", limit="spark1,localhost", hf_cache_dir=CACHE, prune_models="lab/old")
    assert alone.status == "failed"
    assert gone(stocked, "spark1") == set()


def test_what_is_served_stays(pair: Pair, first: tuple[Run, int]) -> None:
    """The model and its image, by name and for room; what nobody needs would have to be more than there is."""
    before = captured(pair)
    image = pair.host("spark1").check_output("sudo docker inspect --format '{{.Image}}' $(sudo docker ps -q | head -1)")
    asked: list[tuple[dict[str, Any], str]] = [
        ({"prune_models": "lab/tiny-chat"}, "lab/tiny-chat stays: dgx-spark-trtllm"),
        ({"prune_images": image}, f"{image} stays: dgx-spark-trtllm"),
        ({"prune_free_gb": 10**6}, "can be made free"),
    ]
    for options, said in asked:
        run = pair.play("prune.yml", **options)
        assert run.status == "failed"
        assert said in run.words
        assert "Nothing was changed." in run.words
    assert differences(before, captured(pair), BY_SERVING) == []
    assert pair.asked()
