# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The models that something is known of before their files are: data, and what a user adds to it. Pure functions.

The data is catalogue.yml beside this file; docs/models.md describes its fields.

This plugin util is private to the collection.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple

from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.of_model import merged

FILE = Path(__file__).with_name("catalogue.yml")
KINDS = ("text", "vision", "multimodal")
HANDLE = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


class CatalogueError(ValueError):
    """An entry is not of the shape that docs/models.md describes; the message names handle and field."""


class Field(NamedTuple):
    """What an entry may say, and what it says where nobody does."""

    default: Any
    problem: Callable[[Any], str]  # what a value must be and is not; empty where it will do


def _text(value: Any) -> str:
    return "" if isinstance(value, str) else "must be a string"


def _kind(value: Any) -> str:
    return "" if value in KINDS else f"must be one of {', '.join(KINDS)}"


def _sparks(value: Any) -> str:
    return "" if isinstance(value, int) and not isinstance(value, bool) and value > 0 else "must be a number from 1 on"


def _size(value: Any) -> str:
    good = value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0)
    return "" if good else "must be a number above 0"


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def _flag_or_none(value: Any) -> str:
    return "" if value is None else _flag(value)


def _texts(value: Any) -> str:
    good = isinstance(value, list) and all(isinstance(one, str) and one for one in value)
    return "" if good else "must be a list of strings"


def _mapping(value: Any) -> str:
    good = isinstance(value, Mapping) and all(isinstance(name, str) for name in value)
    return "" if good else "must be a mapping"


def _environment(value: Any) -> str:
    good = not _mapping(value) and all(isinstance(one, (str, int)) for one in value.values())
    return "" if good else "must be a mapping of names to strings"


def _draft(value: Any) -> str:
    if _mapping(value):
        return "must be a mapping"
    unknown = sorted(set(value) - {"handle", "kind", "revision", "tokens"})
    return f"has {unknown[0]}, and takes handle, kind, revision and tokens" if unknown else ""


#: the fields of an entry
FIELDS = {
    "title": Field("", _text),
    "quantisation": Field("", _text),
    "kind": Field("text", _kind),
    "min_sparks": Field(1, _sparks),
    "gated": Field(None, _flag_or_none),
    "revision": Field("", _text),
    "allow_patterns": Field([], _texts),
    "arguments": Field({}, _mapping),
    "options": Field({}, _mapping),
    "environment": Field({}, _environment),
    "lora": Field({}, _mapping),
    "draft": Field({}, _draft),
    "config": Field({}, _mapping),
    "weights_gb": Field(None, _size),
    "active_gb": Field(None, _size),
    "version": Field("", _text),
    "sources": Field([], _texts),
    "confirmed": Field(False, _flag),
}
#: fields whose mappings an override changes name by name
NESTED = ("arguments", "options", "environment", "lora", "draft", "config")


def load(overrides: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """The entries by handle, with every field: those of the collection, and beside or over them a user's.

    :param overrides: the user's ``spark_models``. Null takes a field, or a name below one, back to its default.
    :raises CatalogueError: naming handle and field.
    """
    said = {} if overrides is None else overrides
    if not isinstance(said, Mapping):
        raise CatalogueError(f"spark_models is {said!r} and no mapping of models by their handle")
    own = _own()
    return {handle: _entry(handle, own.get(handle, {}), said.get(handle, {})) for handle in {**own, **said}}


def entry(handle: str, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One entry; of a model that nobody has described, one of defaults. :raises CatalogueError: as :func:`load`."""
    return load(overrides).get(handle) or _entry(handle, {}, {})


@lru_cache(maxsize=1)
def _own() -> dict[str, dict[str, Any]]:
    return dict(yaml_load(FILE.read_text(encoding="utf-8")))


def _entry(handle: Any, own: Mapping[str, Any], said: Any) -> dict[str, Any]:
    if not isinstance(handle, str) or (said and not HANDLE.fullmatch(handle)):
        raise CatalogueError(f"spark_models has {handle!r}, which is no handle of the hub, such as openai/gpt-oss-20b")
    if not isinstance(said, Mapping):
        raise CatalogueError(f"spark_models: {handle} is {said!r} and no mapping")
    made = {}
    for name, value in said.items():
        if name not in FIELDS:
            raise CatalogueError(f"spark_models: {handle} has the field {name}; there are {', '.join(FIELDS)}")
        problem = FIELDS[name].problem(value) if value is not None else ""
        if problem:
            raise CatalogueError(f"spark_models: {name} of {handle} {problem}, and is {value!r}")
    for name, known in FIELDS.items():
        value = said.get(name, own.get(name))
        if name in NESTED and said.get(name) is not None:
            value = _without_nulls(merged(own.get(name) or {}, said[name]))
        made[name] = known.default if value is None else value
    if made["draft"] and not made["draft"].get("kind"):  # of both together: who changes the tokens repeats no more
        raise CatalogueError(
            f"spark_models: draft of {handle} has no kind, such as Eagle3 or MTP, and is {made['draft']!r}"
        )
    return made


def _without_nulls(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not None}
