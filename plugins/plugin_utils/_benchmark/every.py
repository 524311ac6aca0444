# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several models, measured one after the other: which, in which order, and the journal of that. Pure functions.

The journal is noted after each model, so that a later call goes on from there: what was measured, or has failed, is not
done again.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.report import duration

SCHEMA = 1
MEASURE = "to be measured"
#: of a model in the journal
STARTED, MEASURED, FAILED = "started", "measured", "failed"
SKIPPED = "skipped"
#: about how long an engine takes to end and to start, beside its weights; how fast it reads these, in bytes a second
START_S, LOAD_BYTES_S = 120.0, 1e9


class Candidate(NamedTuple):
    """A model that may be measured."""

    handle: str
    commit: str  # empty where nothing tells
    bytes: int
    fits: bool | None  # None where nothing tells
    why: str  # it does not fit, or cannot be told
    refused: str  # why the hub gives its files not to this account; empty where it does
    needed: tuple[int | None, ...]  # bytes by Spark that are to come; None where nothing tells
    bring_s: float  # seconds of its download and copy


class Item(NamedTuple):
    """What becomes of a model."""

    handle: str
    commit: str
    state: str  # MEASURE, MEASURED, FAILED or SKIPPED
    why: str  # it has failed, or is skipped
    seconds: float  # about how long it takes; 0 where nothing is done


def candidates(
    rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Mapping[str, Any]], fits: str, does_not: str
) -> list[Candidate]:
    """The models of the report. :param rows: as :class:`report.Row` has them. :param facts: as M(hf_models_info) does.
    :param fits: the report's word for a model that fits. :param does_not: and for one that does not.
    """
    return [
        Candidate(
            handle=row["handle"],
            commit=row["commit"],
            bytes=row["bytes"],
            fits={fits: True, does_not: False}.get(row["answer"]),
            why="; ".join(row["reasons"]),
            refused=_refused(facts.get(row["handle"]) or {}),
            needed=tuple(disk["needed_bytes"] for disk in row["disks"]),
            bring_s=(row["download_s"] or 0.0) + (row["copy_s"] or 0.0),
        )
        for row in rows
    ]


def _refused(known: Mapping[str, Any]) -> str:
    return str(known.get("problem") or "the hub refuses it") if known.get("refused") else ""


def planned(
    some: Sequence[Candidate],
    named: bool,
    serves: str,
    done: Mapping[str, Mapping[str, Any]],
    room: Sequence[float],
    measure_s: float,
    retry: bool = False,
) -> list[Item]:
    """What becomes of each model, in the order in which they are measured: what serves already comes first.

    :param some: in the order in which they were asked for. :param named: whether they were asked for by their names;
        else those that fit are measured, small ones first. :param serves: the model that serves. :param done: the
        journal's models. :param room: bytes by Spark that their files may take together. :param measure_s: that a
        measurement takes. :param retry: whether those that have failed are tried again.
    """
    chosen = list(some) if named else [one for one in some if one.fits or one.handle in done or one.handle == serves]
    order = sorted(chosen, key=lambda one: (one.handle != serves, 0 if named else one.bytes))
    left, made = list(room), []
    for one in order:
        entry = done.get(one.handle) or {}
        state, why = entry.get("state"), str(entry.get("why") or "")
        if state == MEASURED or (state == FAILED and not retry):
            made.append(Item(one.handle, one.commit, str(state), why, 0.0))
            continue
        why = "" if one.handle == serves else _obstacle(one, left)
        if why:
            made.append(Item(one.handle, one.commit, SKIPPED, why, 0.0))
            continue
        left = [have - (need or 0) for have, need in zip(left, one.needed)]
        seconds = measure_s + (0.0 if one.handle == serves else one.bring_s + START_S + one.bytes / LOAD_BYTES_S)
        made.append(Item(one.handle, one.commit, MEASURE, "", seconds))
    return made


def _obstacle(one: Candidate, left: Sequence[float]) -> str:
    """Why a model is not switched in, empty where nothing is known against it."""
    if one.refused:
        return one.refused
    if one.fits is False:
        return f"it does not fit: {one.why}"
    lacking = max(((need or 0) - have for have, need in zip(left, one.needed)), default=0.0)
    if lacking > 0:
        return (
            f"a disk lacks {lacking / 1e9:.1f} GB for it beside the models before it: make room (prune.yml), and run "
            "this again"
        )
    return ""


# The journal


def begun(name: str, settings: Mapping[str, Any], at: float) -> dict[str, Any]:
    """A journal of which nothing is done. :param settings: what all models are measured with."""
    return {
        "schema": SCHEMA,
        "name": name,
        "at": at,
        "settings": dict(settings),
        "before": None,  # what served before the first switch, until it serves again
        "models": {},
    }


def noted(journal: Mapping[str, Any], handle: str, **entry: Any) -> dict[str, Any]:
    """The journal with what is to be said of a model, beside what it says already.

    >>> noted(noted(begun("all", {}, 0.0), "a/b", state="started", attempt=1), "a/b", state="measured")["models"]
    {'a/b': {'state': 'measured', 'attempt': 1}}
    """
    models = journal["models"]
    return {**journal, "models": {**models, handle: {**models.get(handle, {}), **entry}}}


def mismatch(journal: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Which settings of a journal are others than those that are asked for, empty for none.

    >>> mismatch(begun("all", {"runs": 3, "seed": 1}, 0.0), {"runs": 2, "seed": 1})
    'runs 3, not 2'
    """
    known = journal["settings"]
    names = [*known, *(name for name in settings if name not in known)]
    return ", ".join(
        f"{name} {known.get(name)}, not {settings.get(name)}" for name in names if known.get(name) != settings.get(name)
    )


def problem(journal: object) -> str:
    """Why a document is no journal that can be gone on with, empty where it is one.

    >>> problem(begun("all", {}, 0.0)), problem([]), problem({"schema": 9})
    ('', 'it is no journal', 'it is of another version')
    """
    if not isinstance(journal, Mapping):
        return "it is no journal"
    if journal.get("schema") != SCHEMA:
        return "it is of another version"
    whole = all(isinstance(journal.get(name), Mapping) for name in ("settings", "models")) and "before" in journal
    return "" if whole and all(isinstance(one, Mapping) for one in journal["models"].values()) else "parts are missing"


def attempt(entry: Mapping[str, Any], goes_on: bool) -> int:
    """The number of a model's attempt, by which its result is named.

    :param entry: the journal's. :param goes_on: whether what an interrupted attempt has measured is of the engine that
        runs now, or it has measured nothing yet.

    >>> attempt({}, True), attempt({"state": "started", "attempt": 1}, True), attempt({"state": "started"}, False)
    (1, 1, 2)
    >>> attempt({"state": "failed", "attempt": 2}, True)
    3
    """
    last = int(entry.get("attempt") or 1)
    if not entry:
        return 1
    return last if entry.get("state") == STARTED and goes_on else last + 1


def result_name(name: str, handle: str, number: int) -> str:
    """The name of a model's result.

    >>> result_name("all", "openai/gpt-oss-20b", 1), result_name("all", "a/b", 2)
    ('all-openai--gpt-oss-20b', 'all-a--b-2')
    """
    return f"{name}-{handle.replace('/', '--')}{f'-{number}' if number > 1 else ''}"


# For people


def lines(items: Sequence[Item], title: str) -> list[str]:
    """What is to be done, a line each. :param title: what is measured, and on what."""
    todo = [one for one in items if one.state == MEASURE]
    width = max((len(one.handle) for one in items), default=0)
    about = f", about {duration(sum(one.seconds for one in todo))}" if todo else ""
    made = [f"BENCHMARK of {len(items)} models, {title}: {len(todo)} to be measured{about}"]
    for one in items:
        more = f"about {duration(one.seconds)}" if one.state == MEASURE else one.why
        made.append(f"  {one.handle:{width}}  {one.state}{f': {more}' if more else ''}")
    return made
