# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What spark_speculative asks for: by what tokens are guessed for a model, and which model has to be there. Pure.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
from typing import Any, Mapping, NamedTuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_speculative import (
    KINDS,
    MTP,
    Speculation,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue

VARIABLE = "spark_speculative"
CATALOGUE = "catalogue"
FIELDS = ("kind", "handle", "revision", "tokens")
TOKENS = 3  # where nobody says how many; NVIDIA's own recipes for a Spark have 3 to 5
MOST_TOKENS = 32
EXAMPLE = "{kind: Eagle3, handle: nvidia/gpt-oss-120b-Eagle3-long-context, tokens: 3}"


class SpeculativeError(ValueError):
    """What was asked for cannot be; the message names the variable, its value, the cause and the mend."""


class _Said(NamedTuple):
    """What somebody said, and where, for sentences."""

    value: Mapping[str, Any]
    place: str


def asked(said: Any, repo: str, models: Mapping[str, Any] | None = None) -> Speculation | None:
    """How tokens are to be guessed for a model; None where nobody asks for it.

    :param said: ``spark_speculative``: empty, ``catalogue``, or a mapping of :data:`FIELDS`, as text too.
    :param repo: the model's handle. :param models: ``spark_models``, what a user adds to the catalogue.
    :raises SpeculativeError: where it cannot be. :raises CatalogueError: where ``models`` is wrong.
    """
    if said is None or said == "" or said == {}:
        return None
    if said == CATALOGUE:
        return _of(_catalogues(repo, models), repo)
    value = _parsed(said)
    if not isinstance(value, Mapping):
        raise SpeculativeError(
            f"{VARIABLE} is {said!r}: leave it empty for none, say {CATALOGUE} for the draft that the catalogue has "
            f"for the model, or give a mapping such as {EXAMPLE}"
        )
    unknown = sorted(str(name) for name in value if name not in FIELDS)
    if unknown:
        raise SpeculativeError(f"{VARIABLE} has {unknown[0]}, and takes {', '.join(FIELDS)}: take it out")
    return _of(_Said(value, VARIABLE), repo)


def models(said: Any, repo: str, overrides: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """What has to come to the cache beside a model so that tokens can be guessed for it, as hf_cache takes it.

    A list of none or one: MTP is a part of the model itself. Parameters and errors are those of :func:`asked`.
    """
    found = asked(said, repo, overrides)
    if found is None or not found.handle:
        return []
    own = catalogue.entry(found.handle, overrides)
    return [
        {
            "repo": found.handle,
            "revision": found.revision or own["revision"] or "main",
            "allow_patterns": list(own["allow_patterns"]),
        }
    ]


def _catalogues(repo: str, overrides: Mapping[str, Any] | None) -> _Said:
    draft = catalogue.entry(repo, overrides)["draft"]
    if not draft:
        raise SpeculativeError(
            f"{VARIABLE} is {CATALOGUE}, and the catalogue has no draft for {repo or 'a model without a name'}: give "
            f"it one in spark_models, such as {{{repo or 'OWNER/NAME'}: {{draft: {EXAMPLE}}}}}, or give {VARIABLE} "
            "such a mapping, or leave it empty for none"
        )
    return _Said(draft, f"the catalogue's draft for {repo}")


def _parsed(said: Any) -> Any:
    """A mapping that came as text, as with ``-e name='{…}'``; anything else as it is."""
    if not isinstance(said, str) or not said.lstrip().startswith("{"):
        return said
    try:
        return json.loads(said)
    except ValueError as error:
        raise SpeculativeError(
            f"{VARIABLE} is {said!r}, which is not JSON ({error}): on a command line, give "
            f"""-e '{{"{VARIABLE}": {{"kind": "MTP", "tokens": 3}}}}'"""
        ) from error


def _of(said: _Said, repo: str) -> Speculation:
    value, place = said
    kind, handle = _kind(said), value.get("handle") or ""
    if kind == MTP and handle:
        raise SpeculativeError(
            f"{place} has the kind MTP and the handle {handle!r}, and MTP guesses by layers of the model itself: "
            "leave the handle out"
        )
    if kind != MTP and not (isinstance(handle, str) and catalogue.HANDLE.fullmatch(handle)):
        problem = f"is {handle!r}, which is no handle of the hub" if handle else "is missing"
        raise SpeculativeError(f"{place} has the kind {kind}, and its handle {problem}: give one, as in {EXAMPLE}")
    if handle and handle == repo:
        raise SpeculativeError(
            f"{place} has the handle {handle}, which is the model itself, and to guess by it saves nothing: give a "
            "smaller one"
        )
    revision = value.get("revision") or ""
    if not isinstance(revision, str):
        raise SpeculativeError(f"the revision of {place} is {revision!r} and no text: give a branch, tag or commit")
    tokens = TOKENS if value.get("tokens") is None else _count(value["tokens"])
    if not 1 <= tokens <= MOST_TOKENS:
        raise SpeculativeError(
            f"the tokens of {place} are {value['tokens']!r}: give how many are guessed at a time, from 1 to "
            f"{MOST_TOKENS}"
        )
    return Speculation(kind=kind, handle=handle, revision=revision, tokens=tokens)


def _kind(said: _Said) -> str:
    kind = said.value.get("kind")
    by_word = {_word(one): one for one in KINDS}
    found = by_word.get(_word(kind)) if isinstance(kind, str) else None
    if found is None:
        problem = f"is {kind!r}" if kind else "is missing"
        raise SpeculativeError(f"the kind of {said.place} {problem}: give one of {', '.join(KINDS)}")
    return found


def _word(kind: str) -> str:
    """A kind without what people write differently.

    >>> _word("Draft_Target") == _word("draft-target") == _word("DraftTarget"), _word("EAGLE-3") == _word("Eagle3")
    (True, True)
    """
    return kind.lower().replace("_", "").replace("-", "")


def _count(value: Any) -> int:
    """A number of tokens, as text too; 0 for what is none."""
    text = str(value)
    return int(text) if not isinstance(value, bool) and text.isascii() and text.isdigit() else 0
