# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the servings of a host need, so that it stays: models and images, and who needs each.

A container that was made needs what it has mounted and its image also while it does not run, for it may be started
again, at the next boot for one. What configuration names is needed too, that which a roll-back would start again.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.images import Users, image_users
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import history

MODEL = re.compile(r"models--([\w.-]+?)--([\w.-]*\w)")
IMAGE = re.compile(r"sha256:[0-9a-f]{64}")
MOST_BYTES = 1 << 20  #: of a file that is looked into: configuration is small
#: below these, configuration lies in directories of instances; units beside
CONFIGURATION = ("/etc/dgx-spark",)
UNITS = "/etc/systemd/system"


def repo_of(name: str) -> str:
    """The repository of a directory's name in the cache, empty where it is none.

    >>> repo_of("models--openai--gpt-oss-20b"), repo_of("models--a"), repo_of("datasets--a--b")
    ('openai/gpt-oss-20b', '', '')
    """
    match = MODEL.fullmatch(name)
    return f"{match[1]}/{match[2]}" if match else ""


def models_used(users: Iterable[Mapping[str, Any]], hub: str, repos: Iterable[str]) -> Users:
    """By repository those that have it mounted: itself, or a part of it; or of those that run a directory above it.

    :param users: containers and services. :param hub: the directory in which the cache keeps repositories.
    :param repos: those that the cache has.
    """
    known = {repo: _spelled(f"{hub}/models--{repo.replace('/', '--')}") for repo in repos}
    found: Users = {}
    for one in users:
        for mount in one["mounts"]:
            places = _spelled(mount)
            own = [repo for place in places for part in Path(place).parts for repo in [repo_of(part)] if repo]
            own += [repo for repo, its in known.items() if _holds(its, places)]
            above = [repo for repo, its in known.items() if one["runs"] and _holds(places, its)]
            for repo in dict.fromkeys(own or above):
                found.setdefault(repo, []).append(str(one["name"]))
    return found


def _spelled(path: str) -> set[str]:
    """A path as it is given, and with its links followed: two who mean one directory may name it differently."""
    return {os.path.normpath(path), os.path.realpath(path)} if path.startswith("/") else set()


def _holds(outer: Iterable[str], inner: Iterable[str]) -> bool:
    """Whether one of these directories holds one of those, or is it."""
    return any(os.path.commonpath([one, other]) == one for one in outer for other in inner)


def texts(places: Iterable[str] = CONFIGURATION, units: str = UNITS) -> Iterator[tuple[str, str]]:
    """The files of configuration, what is kept for a roll-back too: path and text. Keys are left out, and what is as
    large as no configuration is.
    """
    paths = [path for place in places for path in sorted(Path(place).rglob("*")) if "ssh" not in path.parts]
    for path in [*paths, *sorted(Path(units).glob("dgx-spark-*.service"))]:
        if path.is_file() and path.stat().st_size <= MOST_BYTES:
            yield str(path), path.read_text(encoding="utf-8", errors="replace")


def previous_in(text: str) -> list[str]:
    """The models of what served before, of the history of a serving: itself, and one that guessed tokens for it.

    >>> previous_in('[{"repo": "a/b", "outcome": "served"}, {"repo": "c/d", "outcome": "served"}]'), previous_in("[]")
    (['a/b'], [])
    """
    try:
        found = history.previous(history.entries(json.loads(text)))
    except (ValueError, RecursionError):
        return []
    if not found:
        return []
    speculative = found["asked"].get("speculative")
    draft = speculative.get("handle") if isinstance(speculative, Mapping) else None
    return [found["repo"], *([draft] if draft and isinstance(draft, str) else [])]


def named_in(files: Iterable[tuple[str, str]]) -> tuple[Users, Users]:
    """The models and the images that files name, each by the files that do."""
    models: Users = {}
    images: Users = {}
    for path, text in files:
        for previous in previous_in(text) if Path(path).name == history.FILE else []:
            _add(models, previous, path)
        for organisation, name in MODEL.findall(text):
            _add(models, f"{organisation}/{name}", path)
        for image in IMAGE.findall(text):
            _add(images, image, path)
    return models, images


def _add(users: Users, what: str, who: str) -> None:
    known = users.setdefault(what, [])
    if who not in known:
        known.append(who)


def merged(*several: Users) -> Users:
    """Several in one, each user once."""
    found: Users = {}
    for users in several:
        for what, who in users.items():
            for one in who:
                _add(found, what, one)
    return found


def needed(
    users: Sequence[Mapping[str, Any]], hub: str, repos: Iterable[str], files: Iterable[tuple[str, str]]
) -> dict[str, Users]:
    """The ``models`` and ``images`` that are needed on a host, and by whom."""
    models, images = named_in(files)
    return {
        "models": merged(models_used(users, hub, repos), models),
        "images": merged(image_users(users), images),
    }
