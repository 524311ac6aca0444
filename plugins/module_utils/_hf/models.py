# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hub, or else a cache, tells of many models at once, and what a host's cache has of them.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import (
    Cache,
    Notes,
    config_in,
    index_errors,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.directory import REVISION as LOCAL
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import (
    Hub,
    HubError,
    Model,
    UnreachableError,
    check_names,
    chosen,
    read_model,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.tensors import weight_files, weights_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told

#: models that are asked about at a time
AT_ONCE = 4
#: where what is told comes from
HUB, CACHE, NOWHERE = "hub", "cache", ""

_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")

Facts = Dict[str, Any]


class Wanted(NamedTuple):
    """A model that is asked about, and which of its files count."""

    repo: str
    revision: str
    allow: Sequence[str]
    ignore: Sequence[str]


def ask_all(hub: Hub | None, root: str | os.PathLike[str], wanted: Sequence[Wanted], seconds: float) -> Facts:
    """Return what is known of each model, by its repository. Never fails: each has its ``problem``.

    :param hub: None where none is to be asked. :param root: the cache, which serves where the hub does not.
    :param seconds: after which no further model is asked about.
    """
    deadline, away = time.monotonic() + seconds, ""

    def one(asked: Wanted) -> Facts:
        nonlocal away
        problem, refused = away, False
        if hub is not None and not away:
            if time.monotonic() > deadline:
                problem = f"the hub {hub.endpoint} took more than {seconds:g} s for the models before this one"
            else:
                try:
                    return _from_hub(hub, root, asked)
                except UnreachableError as exc:
                    away = problem = str(exc)  # so it is for all others
                except (HubError, OSError) as exc:
                    problem, refused = told(exc), getattr(exc, "refused", False)
        return {**_from_cache(root, asked, problem), "refused": refused}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {asked.repo: facts for asked, facts in zip(wanted, pool.map(one, wanted))}


def _from_hub(hub: Hub, root: str | os.PathLike[str], asked: Wanted) -> Facts:
    model, gated = hub.model(asked.repo, asked.revision)
    model = chosen(model, asked.allow, asked.ignore)
    cache = Cache(root, asked.repo)
    config = config_in(cache, model)
    return _facts(HUB, model, hub.config(model) if config is None else config, cache, hub, gated, "")


def _from_cache(root: str | os.PathLike[str], asked: Wanted, problem: str) -> Facts:
    cache = Cache(root, asked.repo)
    with suppress(HubError, OSError):
        model = in_cache(cache, asked.repo, asked.revision)
        if model is not None:
            model = chosen(model, asked.allow, asked.ignore)
            return _facts(CACHE, model, config_in(cache, model) or {}, cache, None, None, problem)
    return _facts(NOWHERE, None, {}, cache, None, None, problem)


def _facts(
    origin: str, model: Model | None, config: Facts, cache: Cache, hub: Hub | None, gated: bool | None, problem: str
) -> Facts:
    weights = weights_of(model, cache, hub) if model else None
    return {
        "origin": origin,
        "problem": problem,
        "refused": False,
        "commit": model.commit if model else "",
        "gated": gated,
        "bytes": model.size if model else 0,
        "weights_bytes": sum(file.size for file in weight_files(model)) if model else 0,
        "blobs": {file.blob: file.size for file in model.files} if model else {},
        "config": config,
        "tensors": weights.tensors if weights else [],
        "tensors_problem": weights.problem if weights else "",
    }


def in_cache(cache: Cache, repo: str, revision: str) -> Model | None:
    """Return a model as its snapshot in a cache tells it, None where there is none.

    Of a model that was taken from a directory, that is the revision ``local``. Only the hub knows which files it lacks.
    """
    check_names(repo, revision)
    commit = revision
    if not _COMMIT.fullmatch(revision):
        if revision == "main" and not cache.ref(revision).exists():
            revision = LOCAL
        try:
            commit = cache.ref(revision).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return None
    top = cache.snapshot(commit)
    if not _COMMIT.fullmatch(commit) or not top.is_dir():
        return None
    rows = []
    for folder, _folders, names in os.walk(top):
        for name in names:
            path = Path(folder, name)
            blob = Path(os.path.realpath(path))
            if _BLOB.fullmatch(blob.name) and blob.is_file():
                kind = "sha256" if len(blob.name) == 64 else "git_sha1"
                rows.append({"path": str(path.relative_to(top)), "size": blob.stat().st_size, kind: blob.name})
    return read_model({"repo": repo, "commit": commit, "revision": revision, "files": rows}) if rows else None


def whole_in_cache(cache: Cache, asked: Wanted) -> Model | None:
    """Return a model that a cache has whole, as far as can be told without a hub; None where it has not.

    No link of the snapshot leads nowhere, there are weights, and every file that their index names is there.
    """
    model = in_cache(cache, asked.repo, asked.revision)
    if model is None:
        return None
    top = cache.snapshot(model.commit)
    linked = {str(Path(folder, name).relative_to(top)) for folder, _folders, names in os.walk(top) for name in names}
    lost = linked - {file.path for file in model.files}
    model = chosen(model, asked.allow, asked.ignore)
    return None if lost or not weight_files(model) or index_errors(cache, model) else model


def held(root: str | os.PathLike[str], repo: str) -> dict[str, int]:
    """Return the sizes of the blobs that a cache has of a model, by their hashes; links into other stores count too."""
    sizes = {}
    with suppress(OSError), os.scandir(Cache(root, repo).blobs) as entries:
        for entry in entries:
            with suppress(OSError):
                if _BLOB.fullmatch(entry.name) and entry.is_file():
                    sizes[entry.name] = entry.stat().st_size
    return sizes


def rates(root: str | os.PathLike[str]) -> dict[str, Facts]:
    """Return the last figures of bringing models, by the way that they came: those of the largest one for each way."""
    best: dict[str, Facts] = {}
    for path in sorted(Cache(root, "").own.glob("models--*--*.json")):
        for way, row in Notes(path).rates.items():
            if _is_rate(row) and row["bytes"] > best.get(way, {"bytes": 0})["bytes"]:
                best[way] = {name: row[name] for name in ("bytes", "seconds", "at")}
    return best


def _is_rate(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and all(type(row.get(name)) in (int, float) and row[name] > 0 for name in ("bytes", "seconds", "at"))
        and max(row["bytes"], row["seconds"], row["at"]) < 1e18
    )
