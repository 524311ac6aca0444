# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a model can be served now: ready, ready but slow, or blocked. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.room import gigabytes
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.checks import BLOCKED, SLOW, TOLD, load
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.cluster_checks import DOCKERS
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.facts import Facts, NotLookedError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.judge import Report

READY, READY_BUT_SLOW, IS_BLOCKED = "ready", "ready but slow", "blocked"
NO_ROOT = "no_root"  #: the check that blocks, unless to look without root was what was asked for

WAYS = {"download": "to be downloaded", "copy": "to be copied", "pull": "to be pulled"}


class Move(NamedTuple):
    """What has to come before a model is served. :param way: ``download``, ``copy`` or ``pull``."""

    host: str
    what: str
    bytes: int
    way: str


class Line(NamedTuple):
    """One line of the answer: the Spark, what was seen there, and what to do."""

    host: str
    seen: str
    do: str
    kind: str  # BLOCKED, SLOW or TOLD


class Answer(NamedTuple):
    """:param answer: one of the three. :param complete: whether all that counts could be looked at, and was planned."""

    answer: str
    lines: list[Line]
    complete: bool
    bytes: int


def answer(
    report: Report,
    moves: Sequence[Move] = (),
    refusals: Mapping[str, Sequence[str]] | None = None,
    more: Sequence[Line] = (),
    root_wanted: bool = True,
) -> Answer:
    """The answer, with a line for each thing that it rests on; what blocks first.

    What could not be looked at never makes an answer better: a check that blocks and was not made is told, and the
    answer is not complete.

    :param moves: what the plans will bring. :param refusals: by host what the plans refuse, in words.
    :param more: further lines, each of which leaves the answer incomplete.
    :param root_wanted: whether root was asked for: else that there is none blocks nothing.
    """
    lines = [
        Line(", ".join(one["hosts"]), f"{one['title']}: {one['seen']}", one["mend"], _kind(one, root_wanted))
        for one in report.findings
        if one["preflight"]
    ]
    lines += [Line(", ".join(hosts), words, "", BLOCKED) for words, hosts in _by_words(refusals or {}).items()]
    lines += more
    lines += [Line(move.host, _moved(move), "", SLOW) for move in moves if move.bytes > 0]
    counting = {name for name, check in load().items() if check.preflight == BLOCKED}
    blind = [one for one in report.not_looked if counting & set(one.checks)]
    for one in blind:
        names = ", ".join(sorted(counting & set(one.checks)))
        lines.append(Line(one.host, f"not looked at: {names}", one.why, TOLD))
    lines.sort(key=lambda line: (BLOCKED, SLOW, TOLD).index(line.kind))
    kinds = {line.kind for line in lines}
    said = IS_BLOCKED if BLOCKED in kinds else READY_BUT_SLOW if SLOW in kinds else READY
    return Answer(said, lines, not blind and not more, sum(move.bytes for move in moves))


def _kind(finding: Mapping[str, Any], root_wanted: bool) -> str:
    return str(finding["preflight"]) if root_wanted or finding["check"] != NO_ROOT else TOLD


def _by_words(refusals: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """By what was refused the hosts on which it was: a plan is the same on all of them, and so is its refusal."""
    found: dict[str, list[str]] = {}
    for host, some in refusals.items():
        for words in some:
            found.setdefault(words.replace(" Nothing was changed.", "").strip(), []).append(host)
    return found


def _moved(move: Move) -> str:
    return f"{move.what}: {gigabytes(move.bytes)} {WAYS[move.way]}"


def moves_of(members: Sequence[str], model: Mapping[str, Any], serve: Mapping[str, Any]) -> list[Move]:
    """What has to come to each Spark, of the model and of the image.

    :param model: the plan of hf_cache. :param serve: the plan of engine_serve.
    """
    models, images = model.get("moves") or {}, serve.get("moves") or {}
    found = []
    for name in members:
        moving = [*(models.get(name) or []), *([images[name]] if name in images else [])]
        found += [Move(name, one["what"], int(one["bytes"]), one["way"]) for one in moving]
    return [move for move in found if move.bytes > 0]


def unplanned(
    repo: str, model: Mapping[str, Any], serve: Mapping[str, Any], refused: bool, all_read: bool
) -> list[Line]:
    """What no plan tells, so that the answer rests on less. :param refused: whether a plan says why it did not come.

    :param all_read: whether every Spark told of itself.
    """
    if not repo:
        return [Line("", "no model was named", "Name one, such as -e spark_model=openai/gpt-oss-20b.", TOLD)]
    if "changes" in serve or refused:
        return []
    if "moves" in model:
        words = "what of the image has to come, and what the roles would refuse, was not looked at"
        return [Line("", words, "Run this with root (--ask-become-pass), and with Docker started.", TOLD)]
    # a plan that was begun and says nothing is no plan
    return [Line("", "nothing was planned", "See what failed above.", BLOCKED if all_read else TOLD)]


# --- what a Spark is ------------------------------------------------------------------------------------------------


def about(told: Mapping[str, Mapping[str, Any]], members: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What each Spark that answered is, for people who compare: None for what it did not tell."""
    found = {}
    for name in members:
        facts = Facts(name, told.get(name) or {"why": "nothing was read"})
        if not facts.lost:
            found[name] = {key: _value(facts, path) for key, path in ABOUT.items()} | _made(facts)
    return found


ABOUT = {
    "product": "host.product",
    "memory_mib": "memory.total_mib",
    "kernel": "host.kernel",
    "docker": "docker.version",
    "runtime": "docker.default_runtime",
    "user": "host.user",
    "groups": "host.groups",
    "root": "host.root",
}


def _value(facts: Facts, path: str) -> Any:
    try:
        return facts.get(path)
    except (NotLookedError, KeyError):
        return None


def _made(facts: Facts) -> dict[str, Any]:
    release, gpus = _value(facts, "host.release") or {}, _value(facts, "gpu.gpus") or [{}]
    links = _value(facts, "links") or []
    return {
        "release": release.get("DGX_OTA_VERSION") or release.get("DGX_SWBUILD_VERSION"),
        "driver": gpus[0].get("driver_version"),
        "firmware": ", ".join(sorted({link["firmware"] for link in links if link["firmware"]})) or None,
        "cages": sorted({link["physical_port"] for link in links if link["carrier"]} - {None}),
        "leases": [f"{one['address']} of {one['netdev']}" for one in _leases(facts)],
    }


def _leases(facts: Facts) -> list[Mapping[str, Any]]:
    """The addresses beside the fabric that a DHCP server gave for a certain time."""
    fabric = {link["netdev"] for link in _value(facts, "links") or []}
    return [
        one
        for one in _value(facts, "addresses") or []
        if one["dynamic"] and one["netdev"] not in fabric and not DOCKERS.match(one["netdev"])
    ]


def in_words(found: Answer, hosts: Mapping[str, Mapping[str, Any]] | None = None) -> list[str]:
    """The answer as lines of text: the answer, what each Spark is, and a line each with the Spark, what was seen, and
    what to do.
    """
    first = found.answer + ("" if found.complete else ", as far as could be looked at")
    if found.bytes:
        first += f"; {gigabytes(found.bytes)} have to move"
    lines = [first]
    lines += [f"  {'spark':<8}{name}: {_described(one)}" for name, one in (hosts or {}).items()]
    for line in found.lines:
        lines.append(f"  {line.kind:<8}{line.host or 'all'}: {line.seen}" + (f" -> {line.do}" if line.do else ""))
    return lines


def _described(one: Mapping[str, Any]) -> str:
    memory = one["memory_mib"]
    parts = [
        str(one["product"] or "").replace("_", " "),
        f"{memory / 1024:.1f} GiB" if memory else "",
        *(f"{name} {one[key]}" if one[key] else "" for name, key in NAMED),
        f"cable in cage {' and '.join(map(str, one['cages']))}" if one["cages"] else "",
        f"user {one['user']} ({', '.join(filter(None, _rights(one))) or 'neither root nor docker'})",
        f"by DHCP {', '.join(one['leases'])}" if one["leases"] else "",
    ]
    return ", ".join(filter(None, parts))


NAMED = (
    ("DGX OS", "release"),
    ("driver", "driver"),
    ("kernel", "kernel"),
    ("firmware", "firmware"),
    ("Docker", "docker"),
    ("default runtime", "runtime"),
)


def _rights(one: Mapping[str, Any]) -> list[str]:
    return ["root by sudo" if one["root"] else "", "group docker" if "docker" in (one["groups"] or []) else ""]


def as_json(found: Answer, hosts: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The same for programs."""
    return {
        "schema": 1,
        "answer": found.answer,
        "complete": found.complete,
        "bytes": found.bytes,
        "lines": [line._asdict() for line in found.lines],
        "hosts": {name: dict(one) for name, one in (hosts or {}).items()},
    }
