# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the build of TensorRT-LLM's image from source on one Spark: what is changed where, how, and with what room.

This plugin util is private to the collection.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import architectures, layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.contract import scaled_mib
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import room
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change, text_of

PACKAGES, BUILD, LOAD = (
    "Install the packages that a build needs",
    "Build the image from source",
    "Load the image from the leader",
)
CHANGES = (PACKAGES, BUILD, LOAD)
NOTHING = "Nothing was changed."
#: GB on Docker's disk, by NVIDIA's page on building TensorRT-LLM from source; and what ccache keeps by its default
DOCKER_GB, CCACHE_GB = 63, 5
SOURCES = {
    "docker": "docs/source/installation/build-from-source-linux.md of NVIDIA/TensorRT-LLM",
    "ccache": "max_size of ccache 4 by default",
}


class BuildError(ValueError):
    """What was asked for cannot be built. The message names host, value, cause and mend."""


@dataclass(frozen=True)
class Wanted:
    """What is to be built, and what may be taken for that."""

    commit: str  # 40 hexadecimal digits, or a tag or branch that the leader looks up
    url: str
    archs: str
    target: str  # of docker/Makefile
    make: Sequence[str] = ()
    jobs: int = 0  # compilers at a time; 0 for as many as the memory lets run
    job_mib: int = 6144
    floor_mib: int = 16384
    docker_gb: float = DOCKER_GB
    source_gb: float = 20
    image_gb: float = 50
    reserve_gb: float = 20
    spread: bool = True
    model: str = ""


@dataclass(frozen=True)
class Host:
    """A member, as the module image_build_info found it."""

    name: str
    found: Mapping[str, Any]

    @property
    def images(self) -> Sequence[Mapping[str, Any]]:
        return self.found["images"]

    @property
    def state(self) -> Mapping[str, Any]:
        return self.found["state"]


def commit_of(wanted: Wanted, leader: Host) -> str:
    """The commit that is built. :raises BuildError: where it is not pinned, and cannot be looked up."""
    if layout.COMMIT.fullmatch(wanted.commit):
        return wanted.commit
    if not wanted.commit:
        raise BuildError(
            "image_build_commit is empty: name the commit that is to be built, or a tag or branch, of which the commit "
            f"is looked up (-e image_build_commit=v1.4.0rc1). {NOTHING}"
        )
    found = str(leader.found["commit"])
    if layout.COMMIT.fullmatch(found):
        return found
    raise BuildError(
        f"{leader.name} cannot tell which commit {wanted.commit!r} of {wanted.url} is ({leader.found['commit_problem']}): "
        f"give the commit itself, 40 hexadecimal digits (image_build_commit). {NOTHING}"
    )


def jobs_of(wanted: Wanted, leader: Host) -> int:
    """How many compilers run at a time. :raises BuildError: where the memory is not even there for one."""
    memory, cores = leader.found["memory"], int(leader.found["cores"])
    floor = scaled_mib(wanted.floor_mib, int(memory["total_mib"]))
    each = max(1, scaled_mib(wanted.job_mib, int(memory["total_mib"])))
    free = int(memory["available_mib"]) - floor
    if free < each:
        raise BuildError(
            f"{leader.name} has {memory['available_mib']} MiB of memory available, and a build needs {each} MiB for each "
            f"compiler beside {floor} that stay free: end what serves there first (playbooks/stop.yml), or build on "
            f"another Spark. {NOTHING}"
        )
    return wanted.jobs or max(1, min(cores, free // each))


def built(host: Host, commit: str, archs: str) -> Mapping[str, Any]:
    """The image of this commit for these architectures that a host has; empty where there is none."""
    label = (commit, archs.replace(";", ","))
    return next((one for one in host.images if (one["commit"], one["archs"]) == label and one["names"]), {})


def git(source: str, *words: str) -> list[str]:
    """A git command in the clone. Large files come in a stage of their own, and nobody is asked for a password."""
    return ["git", "-C", source, *words]


def stages(wanted: Wanted, commit: str, jobs: int, folder: str) -> list[dict[str, Any]]:
    """The commands of a build in their order, as the program on the host runs them."""
    source = f"{folder}/{layout.SOURCE}"
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}
    labels = {
        layout.COMMIT_LABEL: commit,
        layout.ARCHS_LABEL: wanted.archs.replace(";", ","),
        layout.URL_LABEL: wanted.url,
    }
    make = [
        "make",
        "-C",
        f"{source}/docker",
        wanted.target,
        f"CUDA_ARCHS={wanted.archs}",
        f"IMAGE_WITH_TAG={layout.image_name(commit)}",
        f"GIT_COMMIT={commit}",
        "DOCKER_PROGRESS=plain",
        f"DOCKER_BUILD_ARGS={' '.join(f'--label {name}={value}' for name, value in labels.items())}",
        f"BUILD_WHEEL_OPTS=--job_count {jobs}",
        *wanted.make,
    ]

    def fetching(name: str, title: str, argv: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
        return {"name": name, "title": title, "argv": argv, "environment": dict(environment), "attempts": 3}

    return [
        {"name": "init", "title": "Create the clone", "argv": ["git", "init", "--quiet", source]},
        {
            "name": "remote",
            "title": "Name the repository",
            "argv": git(source, "config", "remote.origin.url", wanted.url),
        },
        fetching(
            "fetch",
            "Fetch the commit",
            git(source, "fetch", "--depth=1", "--no-tags", "--progress", "origin", commit),
            quiet,
        ),
        {
            "name": "checkout",
            "title": "Check the commit out",
            "argv": git(source, "checkout", "--force", "--detach", commit),
            "environment": quiet,
        },
        {"name": "clean", "title": "Remove what another commit left", "argv": git(source, "clean", "-ffdxq")},
        fetching(
            "submodules",
            "Fetch the submodules",
            git(source, "submodule", "update", "--init", "--recursive", "--force", "--depth=1", "--progress"),
            quiet,
        ),
        {
            "name": "lfs",
            "title": "Switch large files on",
            "argv": git(source, "lfs", "install", "--local"),
        },
        fetching("large", "Fetch the large files", git(source, "lfs", "pull", "origin"), {"GIT_TERMINAL_PROMPT": "0"}),
        fetching(
            "larger",
            "Fetch the large files of the submodules",
            git(source, "submodule", "foreach", "--recursive", "git lfs install --local && git lfs pull origin"),
            {"GIT_TERMINAL_PROMPT": "0"},
        ),
        {"name": "build", "title": "Build the image", "argv": make, "environment": {"DOCKER_BUILDKIT": "1"}},
    ]


def request(wanted: Wanted, commit: str, jobs: int, folder: str) -> dict[str, Any]:
    """What the program on the host is told. Its ID does not depend on how many compilers run."""
    source = f"{folder}/{layout.SOURCE}"
    told = [wanted.url, commit, wanted.archs, wanted.target, *wanted.make]
    return {
        "id": hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16],
        "what": f"{layout.image_name(commit)} from {wanted.url}",
        "unlock": [f"{source}/.git"],
        "stages": stages(wanted, commit, jobs, folder),
    }


def needs(wanted: Wanted, host: Host, leads: bool, folder: str) -> list[room.Need]:
    """What will lie on a host's disks."""
    rooms = host.found["rooms"]
    if not leads:
        return [_need("the image", rooms, "docker", wanted.image_gb)]
    return [
        _need("Docker's build and the image", rooms, "docker", wanted.docker_gb),
        _need("what ccache keeps", rooms, "docker", CCACHE_GB if wanted.docker_gb >= DOCKER_GB else 0),
        _need(f"the source in {folder}", rooms, "source", wanted.source_gb),
    ]


def _need(what: str, rooms: Mapping[str, Any], place: str, gigabytes: float) -> room.Need:
    about = rooms[place]
    return room.Need(what, str(about["path"]), about["filesystem"], int(gigabytes * 1e9))


def refuse_small_disks(wanted: Wanted, hosts: Mapping[str, Sequence[room.Need]]) -> None:
    """:raises BuildError: where something would not fit."""
    for name, some in hosts.items():
        lacking = room.lacking(room.add_up(some), wanted.reserve_gb)
        if lacking:
            raise BuildError(
                f"{name} has no room for a build: {'; '.join(room.line(one) for one in lacking)}, and "
                f"{wanted.reserve_gb:g} GB are to stay free (63 GB are NVIDIA's figure for the build): make room "
                f"(playbooks/prune.yml), or build on another Spark. {NOTHING}"
            )


def refuse_bad_tools(wanted: Wanted, leader: Host) -> None:
    """:raises BuildError: where the leader cannot build at all."""
    found = leader.found
    if found["docker_problem"]:
        raise BuildError(
            f"{leader.name}: {found['docker_problem']}. Run playbooks/single_spark.yml, which installs it. {NOTHING}"
        )
    if found["unavailable_packages"]:
        raise BuildError(
            f"{leader.name} lacks {' and '.join(found['unavailable_packages'])}, and no package source has that: "
            f"update the lists (sudo apt-get update), or enable the repository (on Ubuntu: universe). {NOTHING}"
        )
    if wanted.model and found["model_problem"]:
        raise BuildError(
            f"{leader.name}: the model by which the image is to be tried is not there: {found['model_problem']} "
            f"(image_build_model). {NOTHING}"
        )


def refuse_another(leader: Host, wanted_id: str) -> None:
    """:raises BuildError: where another build runs."""
    if leader.found["active"] and leader.state.get("id") != wanted_id:
        raise BuildError(
            f"{leader.name} is building {leader.state.get('what', 'something else')}: wait for its end, or end that "
            f"build with the entry point undo of the role image_build. {NOTHING}"
        )


def plan(wanted: Wanted, hosts: Sequence[Host], folder: str) -> dict[str, Any]:
    """Plan for all members, the leader first.

    :returns: ``changes`` by host, ``commit``, ``image`` (its name), ``id`` (where it is built already), ``request``,
        ``jobs``, ``room``, ``warnings`` and ``outcome``, how an earlier run of this build stands.
    :raises BuildError: where it cannot be.
    """
    leader, workers = hosts[0], hosts[1:]
    problem = layout.url_problem(wanted.url)
    if problem:
        raise BuildError(f"{problem}. {NOTHING}")
    problem = architectures.asked_problem(wanted.archs)
    if problem:
        raise BuildError(f"image_build_archs: {problem}. {NOTHING}")
    refuse_bad_tools(wanted, leader)
    commit = commit_of(wanted, leader)
    image = built(leader, commit, wanted.archs)
    changes: dict[str, list[dict[str, Any]]] = {host.name: [] for host in hosts}
    common = {"commit": commit, "image": layout.image_name(commit), "id": image.get("id", ""), "archs": wanted.archs}
    lacking = [host for host in workers if wanted.spread and not _has(host, image)]
    if image:
        for host in lacking:
            changes[host.name].append(change(LOAD))
        facts = {"jobs": 0, "request": {}, "room": [], "warnings": [], "outcome": layout.DONE}
        return {**common, **facts, "changes": changes, "receivers": [host.name for host in lacking]}

    again = layout.outcome(leader.state, leader.found["active"])
    told = request(wanted, commit, 1, folder)
    refuse_another(leader, told["id"])
    if leader.found.get("foreign"):
        raise BuildError(
            f"{leader.name}: {folder} has {' and '.join(leader.found['foreign'])}, which no build has made: name another "
            f"directory (image_build_dir). {NOTHING}"
        )
    again = again if leader.state.get("id") == told["id"] else ""
    running = again == layout.RUNNING
    jobs = 0 if running else jobs_of(wanted, leader)
    room_of = {leader.name: needs(wanted, leader, True, folder)}
    room_of.update({host.name: needs(wanted, host, False, folder) for host in lacking})
    if again in ("", layout.DONE):  # else much of it lies there already
        refuse_small_disks(wanted, room_of)
    lines = [f"{name}: {room.line(one)}" for name, some in room_of.items() for one in room.add_up(some)]
    if leader.found["missing_packages"]:
        changes[leader.name].append(change(PACKAGES, "", text_of(leader.found["missing_packages"])))
    about = [
        f"commit {commit} of {wanted.url}",
        f"architectures {wanted.archs}",
        f"image {layout.image_name(commit)}",
        *([f"{jobs} compilers at a time"] if jobs else []),
        *lines,
        *([f"an earlier run is {again}: this goes on where that was"] if again else []),
    ]
    changes[leader.name].append(change(BUILD, "", text_of(about)))
    for host in lacking:
        changes[host.name].append(change(LOAD))
    warning = architectures.asked_warning(wanted.archs)
    return {
        **common,
        "jobs": jobs,
        "request": request(wanted, commit, max(1, jobs), folder),
        "room": lines,
        "warnings": [warning] if warning else [],
        "outcome": again,
        "changes": changes,
        "receivers": [host.name for host in lacking],
    }


def _has(host: Host, image: Mapping[str, Any]) -> bool:
    return bool(image) and any(one["id"] == image["id"] for one in host.images)
