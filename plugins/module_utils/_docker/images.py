# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images an engine has, when each was last used, and what of the host its containers and services use.

This module util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError, reads_answers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.times import seconds_of

NONE = "<none>"
#: a container that has one of these does nothing, until somebody starts it
ENDED = ("created", "exited", "dead")
#: by what is used, who uses it, in words
Users = Dict[str, List[str]]


@reads_answers
def images(docker: Docker, containers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All images: ``id``, ``names`` (tags and digests), ``bytes``, ``layers``, ``labels``, and when one was last used.

    An engine notes when an image got a name here, and when a container of it began and ended.

    :param containers: as :func:`containers_of` returns them.
    """
    found = []
    for one in docker.ask("GET", "/images/json"):
        about = docker.image(one["Id"])
        if about is None:  # it went just now
            continue
        own = [container for container in containers if container["image"] == one["Id"]]
        times = [seconds_of((about.get("Metadata") or {}).get("LastTagTime")) or 0.0, *(each["at"] for each in own)]
        found.append(
            {
                "id": one["Id"],
                "names": names_of(about),
                "bytes": int(about.get("Size") or 0),
                "layers": list((about.get("RootFS") or {}).get("Layers") or []),
                "labels": dict((about.get("Config") or {}).get("Labels") or {}),
                "last_used": max(times),
            }
        )
    return found


@reads_answers
def names_of(about: Mapping[str, Any]) -> list[str]:
    """The tags and digests of an image, as :meth:`Docker.image` returns it."""
    listed = [*(about.get("RepoTags") or []), *(about.get("RepoDigests") or [])]
    return sorted(str(name) for name in listed if NONE not in name)


def with_digests(going: Iterable[str], names: Iterable[str]) -> set[str]:
    """What goes of an image's names: with the last tag of a repository Docker takes its digests, too.

    >>> sorted(with_digests(["a:1"], ["a:1", "a@x", "b:1"])), sorted(with_digests(["a:1"], ["a:1", "a:2", "a@x"]))
    (['a:1', 'a@x'], ['a:1'])
    """
    gone, known = set(going), set(names)
    left = {name.rpartition(":")[0] for name in known - gone if "@" not in name}
    lost = {name.rpartition(":")[0] for name in known & gone if "@" not in name} - left
    return gone | {name for name in known if "@" in name and name.partition("@")[0] in lost}


@reads_answers
def containers_of(docker: Docker) -> list[dict[str, Any]]:
    """All containers: ``name``, ``image`` (an ID), whether it ``runs`` or will by itself, ``mounts``, and when it began
    or ended.
    """
    found = []
    for one in docker.ask("GET", "/containers/json?all=1"):
        try:
            told = docker.ask("GET", f"/containers/{one['Id']}/json")
        except DockerError as error:
            if error.status != 404:
                raise
            continue  # it went just now
        state = told.get("State") or {}
        times = [float(one.get("Created") or 0)]
        times += [seconds_of(state.get(name)) or 0.0 for name in ("StartedAt", "FinishedAt")]
        mounts = [str(mount["Source"]) for mount in one.get("Mounts") or [] if mount.get("Type") == "bind"]
        name = (one.get("Names") or [one["Id"][:12]])[0].lstrip("/")
        runs = one.get("State") not in ENDED or comes_back(told)
        about = {"name": name, "image": str(one["ImageID"]), "runs": runs}
        found.append({**about, "mounts": mounts, "at": max(times)})
    return found


def comes_back(told: Mapping[str, Any]) -> bool:
    """Whether Docker starts a container that has ended when it starts itself, at the next boot for one.

    Of ``unless-stopped`` it does so where nobody stopped the container, which it does not tell; but then it has started
    it again already, as long as it runs.

    :param told: as Docker inspects it.

    >>> comes_back({"HostConfig": {"RestartPolicy": {"Name": "always"}}}), comes_back({"HostConfig": {}})
    (True, False)
    """
    policy = ((told.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name")
    failed = bool((told.get("State") or {}).get("ExitCode"))
    return policy == "always" or (policy == "on-failure" and failed)


@reads_answers
def services_of(docker: Docker) -> list[dict[str, Any]]:
    """The services of the Swarm that this host manages, as :func:`containers_of`; none where it manages none."""
    if not (docker.info().get("Swarm") or {}).get("ControlAvailable"):
        return []
    found = []
    for one in docker.ask("GET", "/services"):
        spec = ((one.get("Spec") or {}).get("TaskTemplate") or {}).get("ContainerSpec") or {}
        mounts = [str(mount["Source"]) for mount in spec.get("Mounts") or [] if mount.get("Type") == "bind"]
        image = str(spec.get("Image") or "")
        found.append({"name": str(one["Spec"]["Name"]), "image": image, "runs": True, "mounts": mounts, "at": 0.0})
    return found


def image_users(users: Iterable[Mapping[str, Any]]) -> Users:
    """By image, as the container or the service names it, the names of those that were made of it."""
    found: Users = {}
    for one in users:
        found.setdefault(str(one["image"]), []).append(str(one["name"]))
    return found
