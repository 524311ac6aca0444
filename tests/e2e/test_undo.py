# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""There and back: after undo.yml two Sparks are what they were before two_spark.yml, but for what is listed here.

It takes long: run by `make test-all`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest

from .conftest import ROOT, SERVED, Pair, Run, eventually, stocked, taken_down
from .state import BY_SERVING, Allowed, State, captured, differences, unused

pytestmark = pytest.mark.matrix

ROLES = ("cx7_network", "container_toolkit", "swarm_gpu", "hf_cache", "trtllm_serve")

#: what undo.yml leaves, and why
STAYS = (
    Allowed(
        "docker",
        r"image nvcr\.test/.*",
        "NVIDIA's image: to pull 20 GB takes long, and others may use the same image; undo.yml says that it stays",
    ),
)
#: what undo.yml leaves without -e spark_undo_model=true
MODEL_STAYS = (
    Allowed(
        "files",
        r"/home/[^/]+/\.cache(/huggingface(/hub(/\.locks|/CACHEDIR\.TAG)?)?)?",
        "the Hugging Face cache that holds the model, as hf makes it",
    ),
    Allowed(
        "files",
        r"/home/[^/]+/\.cache/huggingface/hub/(\.locks/)?models--.*",
        "the model, since to download one takes long: undo.yml says how to remove the model too",
    ),
)


@pytest.fixture(scope="module")
def sparks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two Sparks for all tests here: each leaves them as they were, or has failed."""
    one = stocked(tmp_path_factory.mktemp("undo"))
    yield one
    taken_down(one)


@pytest.fixture
def blank(sparks: Pair) -> Pair:
    """Two Sparks that nothing has touched yet, or of which an undo has left NVIDIA's image alone."""
    for name in sparks.names:
        sparks.host(name).run("sudo docker image rm %s", SERVED["spark_image"])
    return sparks


def good(run: Run) -> Run:
    assert run.status == "successful", run.said
    return run


def undone(pair: Pair, plays: str | list[dict[str, Any]] = "undo.yml", **options: Any) -> Run:
    """Undo, after a dry run that changed nothing and told of the same changes, by host and by name."""
    listed = "sudo docker ps --all --quiet --filter name=dgx-spark-probe"
    for name in pair.names:  # Swarm removes what a check has run there, some seconds after the check
        eventually(lambda name=name: pair.host(name).check_output(listed), "", seconds=60)
    before = captured(pair)
    dry = good(pair.play(plays, check=True, **SERVED, **options))
    assert differences(before, captured(pair), BY_SERVING) == [], "the dry run changed something"
    foretold: dict[str, set[str]] = {}
    for found in (dry.made(), dry.planned()):
        for host, names in found.items():
            foretold.setdefault(host, set()).update(names - {"Show what is removed"})
    run = good(pair.play(plays, **SERVED, **options))
    assert run.made() == foretold
    return run


def back(pair: Pair, before: State, *allowed: tuple[Allowed, ...]) -> None:
    """All is what it was, but for what is allowed; and all that is allowed is needed."""
    after = captured(pair)
    assert differences(before, after, *allowed) == []
    assert unused(before, after, [one for several in allowed for one in several]) == []


def test_undo_puts_back_what_two_spark_changed(blank: Pair) -> None:
    before = captured(blank)
    good(blank.serve())
    run = undone(blank, spark_undo_packages=True)
    says = " ".join(run.results("Report what stays, and why")["spark1"]["msg"])
    assert "spark_undo_model=true" in says
    assert "to download a model takes long" in says
    assert "spark_undo_packages=true" not in says, "they are gone"
    back(blank, before, STAYS, MODEL_STAYS)

    nameless = blank.play("undo.yml", spark_undo_model=True, spark_model="")
    assert nameless.status == "failed"
    assert "spark_model is not set" in nameless.words
    assert nameless.changed == {}, nameless.made()
    run = undone(blank, spark_undo_packages=True, spark_undo_model=True)
    assert "spark_undo_model=true" not in " ".join(run.results("Report what stays, and why")["spark1"]["msg"])
    back(blank, before, STAYS)
    again = good(blank.play("undo.yml", **SERVED, spark_undo_packages=True, spark_undo_model=True))
    assert again.changed == {}, again.made()


def tasks(entry: str, *names: str) -> list[dict[str, Any]]:
    """A play of one entry point of some roles."""
    imports = [{"ansible.builtin.import_role": {"name": name, "tasks_from": entry}} for name in names]
    return [{"hosts": "spark", "gather_facts": False, "any_errors_fatal": True, "tasks": imports}]


@pytest.mark.parametrize(
    "made", [("cx7_network",), ("container_toolkit", "swarm_gpu")], ids=["the fabric alone", "Docker alone"]
)
def test_undo_after_a_run_that_came_half_way(blank: Pair, made: tuple[str, ...]) -> None:
    before = captured(blank)
    good(blank.play(tasks("main", *(f"sparkops.dgx_spark.{role}" for role in made)), **SERVED))
    undone(blank, spark_undo_packages=True, spark_undo_model=True)
    back(blank, before)


def test_undo_of_containers_that_systemd_starts(blank: Pair) -> None:
    before = captured(blank)
    good(blank.serve(spark_launcher="docker"))
    undone(blank, spark_undo_packages=True, spark_undo_model=True)
    back(blank, before, STAYS)


def test_each_role_undoes_what_is_its_own(blank: Pair) -> None:
    """In a play of its own, as a task of somebody's own playbook; the last one leaves nothing."""
    before = captured(blank)
    good(blank.serve())
    for role in reversed(ROLES):
        play = tasks("undo", f"sparkops.dgx_spark.{role}")
        assert undone(blank, play, spark_undo_packages=True, spark_undo_model=True).changed
        again = good(blank.play(play, **SERVED, spark_undo_packages=True, spark_undo_model=True))
        assert again.changed == {}, again.made()
    back(blank, before, STAYS)


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as a user gets it, installed from the tarball."""
    galaxy = [str(Path(sys.executable).parent / "ansible-galaxy"), "collection"]
    built, path = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("collections")
    subprocess.run([*galaxy, "build", ROOT, "--output-path", built], check=True, capture_output=True)
    tarball = next(built.glob("sparkops-dgx_spark-*.tar.gz"))
    # By force, since one that the configured path has already, such as the checkout, is not installed a second time.
    subprocess.run(
        [*galaxy, "install", tarball, "-p", path, "--no-deps", "--offline", "--force"], check=True, capture_output=True
    )
    return path


def test_roles_from_the_tarball_in_a_repository_of_ones_own_and_back(blank: Pair, collections: Path) -> None:
    """Another group name, `become: true` for the whole play, and no variable that names members."""
    before = captured(blank)
    inventory = {"gpus": blank.hosts(*blank.names)["spark"]}
    play: dict[str, Any] = {"hosts": "gpus", "gather_facts": False, "become": True, "any_errors_fatal": True}
    theirs: dict[str, Any] = {"inventory": inventory, "collections": collections, **SERVED}
    roles = [f"sparkops.dgx_spark.{role}" for role in ROLES]

    good(blank.play([{**play, "roles": roles}], **theirs))
    assert blank.asked()["virtual_spark"]["nonce_rank"] == 1
    again = good(blank.play([{**play, "roles": roles}], **theirs))
    assert again.changed == {}, again.made()

    undo = [{"ansible.builtin.import_role": {"name": role, "tasks_from": "undo"}} for role in reversed(roles)]
    good(blank.play([{**play, "tasks": undo}], **theirs, spark_undo_packages=True, spark_undo_model=True))
    back(blank, before, STAYS)
