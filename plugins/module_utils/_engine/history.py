# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which models a serving has had, on its leader: a bounded list, the oldest first. Pure functions but for the file.

It lies with the configuration and not with the supervisor's state, since containers may write there.

This module util is private to the collection.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping, Sequence, TypedDict

FILE = "history.json"
MOST = 20  # entries
SERVED, PUT_BACK = "served", "put back"
WHY = 500  # letters of a reason that are kept


class Entry(TypedDict):
    """A serving that was tried."""

    at: float  # seconds since the epoch: when it served, or when the one before it was put back
    repo: str
    commit: str
    config: str
    outcome: str  # SERVED, or PUT_BACK: it did not serve, and the last good one was put back
    why: str  # it did not serve; empty where it did
    asked: dict[str, Any]  # the options with which it was planned


def read(folder: Path) -> list[Entry]:
    """The entries; none where there is no file, or one that is not whole. :raises OSError: when it cannot be read."""
    try:
        return entries(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return []


def entries(found: object) -> list[Entry]:
    """What of a document is an entry. Anything else is left out.

    >>> entries([{"repo": "a/b", "at": 1}, 5, {"repo": 7}])[0]["repo"], entries("x")
    ('a/b', [])
    """
    return [_entry(one) for one in found if _is_entry(one)] if isinstance(found, list) else []


def _is_entry(one: object) -> bool:
    return isinstance(one, Mapping) and isinstance(one.get("repo"), str) and bool(one["repo"])


def _entry(one: Mapping[str, Any]) -> Entry:
    at, asked = one.get("at"), one.get("asked")
    words = {name: str(one.get(name) or "") for name in ("commit", "config", "outcome", "why")}
    return Entry(
        at=float(at) if isinstance(at, (int, float)) and not isinstance(at, bool) else 0.0,
        repo=one["repo"],
        commit=words["commit"],
        config=words["config"],
        outcome=words["outcome"] or SERVED,
        why=words["why"][:WHY],
        asked=dict(asked) if isinstance(asked, Mapping) else {},
    )


def same(one: Entry, other: Entry) -> bool:
    """Whether two entries are of the same model with the same options; its configuration may be a later one."""
    return all(one[name] == other[name] for name in ("repo", "commit", "asked"))


def added(known: Sequence[Entry], new: Entry) -> list[Entry]:
    """The entries with a new one, which takes the place of the last where that says the same but for its time."""
    kept = list(known)
    if kept and same(kept[-1], new) and kept[-1]["outcome"] == new["outcome"]:
        kept.pop()
    return [*kept, new][-MOST:]


def current(known: Sequence[Entry]) -> Entry | None:
    """What served last."""
    return next((one for one in reversed(known) if one["outcome"] == SERVED), None)


def previous(known: Sequence[Entry]) -> Entry | None:
    """What served before that: another model, or the same with other options."""
    last = current(known)
    served = [one for one in reversed(known) if one["outcome"] == SERVED]
    return next((one for one in served if last and not same(one, last)), None)


def text(known: Sequence[Entry]) -> str:
    """The file's text."""
    return json.dumps(list(known), indent=2, sort_keys=True) + "\n"
