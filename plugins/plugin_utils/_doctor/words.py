# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as lines for people, and as a document for programs. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

import textwrap
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.checks import SEVERITIES
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.judge import NotLooked, Report

SCHEMA = 1
WIDTH = 140
_PLURALS = {"serious": "serious", "warning": "warnings", "note": "notes"}


class Block(NamedTuple):
    """Lines that belong together. :param severity: of the finding, empty for what is none."""

    severity: str
    lines: list[str]


def blocks(report: Report, members: Sequence[str], before: Sequence[Mapping[str, Any]] = ()) -> list[Block]:
    """The report, the worst first.

    :param before: the findings of an earlier look, of which those that are gone are told.
    """
    found = [Block("", [summary(report, members)])]
    found += [Block(one["severity"], _finding(one, len(members) > 1)) for one in report.findings]
    if gone := mended(before, report):
        found.append(Block("", ["MENDED", *(f"  {one}" for one in gone)]))
    if report.not_looked:
        found.append(Block("", ["NOT LOOKED AT", *(line for one in report.not_looked for line in _skipped(one))]))
    return found


def summary(report: Report, members: Sequence[str]) -> str:
    """One line that counts."""
    sparks = f"{len(members)} Spark{'s' if len(members) > 1 else ''}"
    counts = {name: sum(one["severity"] == name for one in report.findings) for name in SEVERITIES}
    said = ", ".join(f"{count} {_PLURALS[name] if count > 1 else name}" for name, count in counts.items() if count)
    left = len({name for one in report.not_looked for name in one.checks})
    blind = f"; {left} of them could not be made everywhere" if left else ""
    return f"DOCTOR: {sparks}, {report.checks} checks: {said or 'nothing was found'}{blind}"


def _finding(one: Mapping[str, Any], several: bool) -> list[str]:
    where = f"{', '.join(one['hosts'])}: " if one["hosts"] and several else ""
    treat = f", -e doctor_treat={one['check']}" if one["treatable"] else ""
    lines = [f"{one['severity'].upper():<8} {where}{one['title']} ({one['check']}; {one['class_in_words']}{treat})"]
    for head, text in (("seen", one["seen"]), ("why", one["why"]), ("mend", one["mend"])):
        lines += textwrap.wrap(
            " ".join(str(text).split()),
            WIDTH,
            initial_indent=f"  {head:<5}",
            subsequent_indent=" " * 7,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


def _skipped(one: NotLooked) -> list[str]:
    names = (
        ", ".join(one.checks)
        if len(one.checks) <= 12
        else f"{', '.join(one.checks[:10])} and {len(one.checks) - 10} more"
    )
    return textwrap.wrap(
        f"{one.host or 'all Sparks'}: {names}: {' '.join(one.why.split())}",
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def mended(before: Sequence[Mapping[str, Any]], after: Report) -> list[str]:
    """The findings of an earlier look that are there no more, by check and hosts; not those that nobody looked at."""
    still = {key_of(one) for one in after.findings}
    blind = {(one.host, name) for one in after.not_looked for name in one.checks}
    gone = [
        one
        for one in before
        if key_of(one) not in still and not any((host, one["check"]) in blind for host in ("", *one["hosts"]))
    ]
    return list(dict.fromkeys(map(key_of, gone)))


def key_of(one: Mapping[str, Any]) -> str:
    """A finding by its check and its hosts."""
    where = f" on {', '.join(one['hosts'])}" if one["hosts"] else ""
    return f"{one['check']}{where}"


def document(report: Report, members: Sequence[str], at: float, failing: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All of it for programs."""
    return {
        "schema": SCHEMA,
        "at": at,
        "members": list(members),
        "checks": report.checks,
        "exit_status": 2 if failing else 0,
        "findings": report.findings,
        "not_looked_at": [{"host": one.host, "checks": list(one.checks), "why": one.why} for one in report.not_looked],
    }
