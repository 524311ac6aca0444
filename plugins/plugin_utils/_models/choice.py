# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which entries of the catalogue are looked at, and what the hub is asked about them. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

import difflib
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue


class ChoiceError(ValueError):
    """A name is no model's; the message names the nearest ones."""


def choose(
    entries: Mapping[str, Mapping[str, Any]], only: Sequence[str], also: Sequence[str]
) -> dict[str, Mapping[str, Any]]:
    """Return the entries that are asked for, all of them where nothing is said.

    :param only: handles, or parts of handles; a handle that no entry has is a model all the same. :param also: handles
        of models that count as if the catalogue had them; what is no handle is left out.
    """
    names = [name.strip() for name in only if name.strip()]
    further = [handle for handle in also if _is_handle(handle) and handle not in entries]
    entries = {**entries, **{handle: catalogue.entry(handle) for handle in further}}
    if not names:
        return dict(entries)
    chosen: dict[str, Mapping[str, Any]] = {}
    for name in names:
        chosen.update(_named(entries, name))
    return chosen


def _named(entries: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, Mapping[str, Any]]:
    if name in entries:
        return {name: entries[name]}
    if _is_handle(name):
        return {name: catalogue.entry(name)}
    found = {handle: entry for handle, entry in entries.items() if name.lower() in handle.lower()}
    if not found:
        short = {handle.rpartition("/")[2].lower(): handle for handle in entries}
        near = [short[one] for one in difflib.get_close_matches(name.lower(), short, 3, 0.5)]
        raise ChoiceError(
            f"{name!r} is asked for, and is part of no model's handle in the catalogue: give the handle, "
            f"such as {' or '.join(near or ['openai/gpt-oss-20b'])}. Nothing was changed."
        )
    return found


def _is_handle(name: str) -> bool:
    return bool(catalogue.HANDLE.fullmatch(name))


def questions(
    entries: Mapping[str, Mapping[str, Any]], revisions: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return what hf_models_info is asked: the models, and those that draft for them.

    :param revisions: by handle, for models that have one beside the catalogue's.
    """
    asked = {
        handle: {
            "repo": handle,
            "revision": (revisions or {}).get(handle) or entry["revision"] or "main",
            "allow_patterns": list(entry["allow_patterns"]),
        }
        for handle, entry in entries.items()
    }
    for entry in entries.values():
        draft = entry["draft"].get("handle", "")
        if isinstance(draft, str) and _is_handle(draft):
            revision = str(entry["draft"].get("revision") or "main")
            asked.setdefault(draft, {"repo": draft, "revision": revision, "allow_patterns": []})
    return list(asked.values())
