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

from .conftest import ROOT, SERVED, Pair, Run, stocked, taken_down
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


@pytest.fixture
def blank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two Sparks that nothing has touched yet."""
    one = stocked(tmp_path_factory.mktemp("undo"))
    yield one
    taken_down(one)


def good(run: Run) -> Run:
    assert run.status == "successful", run.said
    return run


def back(pair: Pair, before: State, *allowed: tuple[Allowed, ...]) -> None:
    """All is what it was, but for what is allowed; and all that is allowed is needed."""
    after = captured(pair)
    assert differences(before, after, *allowed) == []
    assert unused(before, after, [one for several in allowed for one in several]) == []


def test_undo_puts_back_what_two_spark_changed(blank: Pair) -> None:
    before = captured(blank)
    good(blank.serve())
    serving = captured(blank)
    good(blank.play("undo.yml", check=True, **SERVED, spark_undo_packages=True))
    assert differences(serving, captured(blank), BY_SERVING) == [], "a dry run of undo.yml changed something"

    run = good(blank.play("undo.yml", **SERVED, spark_undo_packages=True))
    says = " ".join(run.results("Report what stays, and why")["spark1"]["msg"])
    assert "spark_undo_model=true" in says
    assert "spark_undo_packages=true" not in says, "they are gone"
    back(blank, before, STAYS, MODEL_STAYS)

    good(blank.play("undo.yml", **SERVED, spark_undo_packages=True, spark_undo_model=True))
    back(blank, before, STAYS)
    again = good(blank.play("undo.yml", **SERVED, spark_undo_packages=True, spark_undo_model=True))
    assert again.changed == {}


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as a user gets it, installed from the tarball."""
    galaxy = [str(Path(sys.executable).parent / "ansible-galaxy"), "collection"]
    built, path = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("collections")
    subprocess.run([*galaxy, "build", ROOT, "--output-path", built], check=True, capture_output=True)
    tarball = next(built.glob("sparkops-dgx_spark-*.tar.gz"))
    subprocess.run([*galaxy, "install", tarball, "-p", path, "--no-deps", "--offline"], check=True, capture_output=True)
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
    assert again.changed == {}

    undo = [{"ansible.builtin.import_role": {"name": role, "tasks_from": "undo"}} for role in reversed(roles)]
    good(blank.play([{**play, "tasks": undo}], **theirs, spark_undo_packages=True, spark_undo_model=True))
    back(blank, before, STAYS)
