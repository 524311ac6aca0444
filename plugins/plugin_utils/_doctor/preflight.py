# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a model can be served now: ready, ready but slow, or blocked. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.room import gigabytes
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.checks import BLOCKED, SLOW, load
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.judge import Report

READY, READY_BUT_SLOW, IS_BLOCKED = "ready", "ready but slow", "blocked"


WAYS = {"download": "to be downloaded", "copy": "to be copied", "pull": "to be pulled", "build": "to be built"}


class Move(NamedTuple):
    """What has to come before a model is served. :param way: ``download``, ``copy``, ``pull`` or ``build``."""

    host: str
    what: str
    bytes: int
    way: str


class Line(NamedTuple):
    """One line of the answer: the Spark, what was seen there, and what to do."""

    host: str
    seen: str
    do: str
    kind: str  # BLOCKED, SLOW, or empty for what is only told


class Answer(NamedTuple):
    """:param answer: one of the three. :param complete: whether all that counts could be looked at."""

    answer: str
    lines: list[Line]
    complete: bool
    bytes: int


def answer(
    report: Report,
    moves: Sequence[Move] = (),
    refusals: Mapping[str, Sequence[str]] | None = None,
    more: Sequence[Line] = (),
) -> Answer:
    """The answer, with a line for each thing that it rests on; what blocks first.

    What could not be looked at never makes an answer better: a check that blocks and was not made is told, and the
    answer is not complete.

    :param moves: what the plans will bring. :param refusals: by host what the plans refuse, in words.
    :param more: further lines.
    """
    lines = [
        Line(", ".join(one["hosts"]), f"{one['title']}: {one['seen']}", one["mend"], one["preflight"])
        for one in report.findings
        if one["preflight"]
    ]
    lines += [Line(host, words, "", BLOCKED) for host, some in (refusals or {}).items() for words in some]
    lines += more
    lines += [Line(move.host, _moved(move), "", SLOW) for move in moves if move.bytes > 0]
    counting = {name for name, check in load().items() if check.preflight == BLOCKED}
    blind = [one for one in report.not_looked if counting & set(one.checks)]
    for one in blind:
        names = ", ".join(sorted(counting & set(one.checks)))
        lines.append(Line(one.host, f"not looked at: {names}", one.why, ""))
    lines.sort(key=lambda line: (BLOCKED, SLOW, "").index(line.kind))
    kinds = {line.kind for line in lines}
    said = IS_BLOCKED if BLOCKED in kinds else READY_BUT_SLOW if SLOW in kinds else READY
    return Answer(said, lines, not blind, sum(move.bytes for move in moves))


def _moved(move: Move) -> str:
    verb = WAYS[move.way]
    return f"{move.what}: {gigabytes(move.bytes)} {verb}"


#: changes of the serving's plan that take minutes, and what they bring where no bytes are known
SLOW_CHANGES = {"Pull the base image": "the base image", "Load the image from the leader": "the engine's image"}


def moves_of(members: Sequence[str], model: Mapping[str, Any]) -> list[Move]:
    """What of a model has to come to each Spark, of the plan of hf_cache: to the leader from the hub, then from it."""
    room = model.get("room") or {}
    return [
        Move(name, need["what"], int(need["bytes"]), "copy" if rank else "download")
        for rank, name in enumerate(members)
        for need in room.get(name) or []
        if int(need["bytes"]) > 0
    ]


def slow_changes(serve: Mapping[str, Any]) -> list[Line]:
    """What of an image has to come, of the plan of engine_serve, which tells no bytes of what moves."""
    return [
        Line(name, f"{SLOW_CHANGES[change['name']]} has to come ({change['name']})", "", SLOW)
        for name, changes in (serve.get("changes") or {}).items()
        for change in changes
        if change["name"] in SLOW_CHANGES
    ]


def in_words(found: Answer) -> list[str]:
    """The answer as lines of text: the answer, and a line each with the Spark, what was seen, and what to do."""
    first = found.answer + ("" if found.complete else ", as far as could be looked at")
    if found.bytes:
        first += f"; {gigabytes(found.bytes)} have to move"
    lines = [first]
    for line in found.lines:
        mark = {BLOCKED: "blocked", SLOW: "slow", "": "told"}[line.kind]
        lines.append(f"  {mark:<8}{line.host or 'all'}: {line.seen}" + (f" -> {line.do}" if line.do else ""))
    return lines


def as_json(found: Answer) -> dict[str, Any]:
    """The same for programs."""
    return {
        "answer": found.answer,
        "complete": found.complete,
        "bytes": found.bytes,
        "lines": [line._asdict() for line in found.lines],
    }
