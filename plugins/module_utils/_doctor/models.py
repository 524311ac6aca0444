# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read of a host what its Hugging Face cache holds, and what is wrong there as names and sizes show it.

No file of a model is opened. This module util is private to the collection.
"""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path
from typing import Any, Iterator

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor.system import text_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import Cache, Notes
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.bounded import UnreadError

MOST = 200_000  #: entries that are looked at; a cache of some hundred models has fewer
SECONDS = 20.0


def cached(root: Path, whose: str, seconds: float = SECONDS) -> list[dict[str, Any]]:
    """The models of a cache, each with its refs, commits, partial files, broken links, and files of other users.

    :param root: that holds ``hub``. :param whose: the user whose cache it is.
    :raises UnreadError: where the host knows no such user.
    """
    try:
        owner = pwd.getpwnam(whose).pw_uid
    except KeyError:
        raise UnreadError(f"the host knows no user {whose}") from None
    deadline, left = time.monotonic() + seconds, MOST
    found = []
    for place in sorted((root / "hub").glob("models--*--*")):
        partial, newest = 0, 0.0
        foreign: list[str] = []
        broken: list[str] = []
        for path in _tree(place):
            left -= 1
            if left <= 0 or time.monotonic() > deadline:
                raise OSError(f"{root} holds more than can be looked through within {seconds:g} s")
            try:
                about = path.lstat()
            except OSError:
                continue  # it went just now
            if about.st_uid != owner and len(foreign) < 3:
                foreign.append(str(path))
            if path.name.endswith(".incomplete"):
                partial += about.st_size
                newest = max(newest, about.st_mtime)
            if path.is_symlink() and not path.exists():
                broken.append(str(path.relative_to(place)))
        organisation, _dashes, name = place.name[len("models--") :].partition("--")
        refs, snapshots = place / "refs", place / "snapshots"
        found.append(
            {
                "repo": f"{organisation}/{name}",
                "repo_dir": str(place),
                "refs": {
                    str(path.relative_to(refs)): text_of(path) for path in sorted(refs.rglob("*")) if path.is_file()
                },
                "commits": [one.name for one in sorted(snapshots.glob("*")) if one.is_dir()],
                "partial_bytes": partial,
                "partial_age_s": round(time.time() - newest) if newest else 0,
                "broken": broken[:5],
                "foreign": foreign,
                "whose": whose,
                "owner": _owner(place),
                "pinned": _is_pinned(root, f"{organisation}/{name}"),
            }
        )
    return found


def _is_pinned(root: Path, repo: str) -> bool:
    """Whether this collection brought a model by its commit alone, so that no name was ever written."""
    notes = Notes(Cache(root, repo).notes)
    return os.path.lexists(notes.path) and not notes.refs  # False, too, where this user may not look


def _owner(place: Path) -> dict[str, int]:
    about = place.stat()
    return {"uid": about.st_uid, "gid": about.st_gid}


def _tree(top: Path) -> Iterator[Path]:
    yield top
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            yield Path(folder, name)
