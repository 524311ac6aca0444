# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of docs/test_runs.md, from what pytest writes with ``--junitxml``.

    pytest -m matrix tests/e2e --junitxml=build/matrix.xml
    python -m tests.table build/matrix.xml

A file that was run again gives the outcome of each test from the last of the files that have it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree


class Case(NamedTuple):
    """One test: its file, its name with parameters, its outcome and its seconds."""

    file: str
    name: str
    outcome: str
    seconds: float


def cases_of(xml: str) -> list[Case]:
    """The tests that a report tells of. An error of a fixture counts as a failure.

    >>> cases_of('<testsuites><testsuite><testcase classname="tests.e2e.test_swarm" name="test_a" time="1.5">'
    ...          '<failure/></testcase></testsuite></testsuites>')
    [Case(file='test_swarm', name='test_a', outcome='failed', seconds=1.5)]
    """
    found = []
    for case in ElementTree.fromstring(xml).iter("testcase"):
        said = {child.tag for child in case}
        outcome = "failed" if said & {"failure", "error"} else "skipped" if "skipped" in said else "passed"
        file, seconds = case.attrib["classname"].split(".")[-1], float(case.get("time", 0))
        found.append(Case(file, case.attrib["name"], outcome, seconds))
    return found


def table(cases: list[Case]) -> str:
    """Markdown: a row for each test function, its parameters counted; and a sum for each file."""
    last = {(case.file, case.name): case for case in cases}
    files: dict[str, dict[str, list[Case]]] = defaultdict(lambda: defaultdict(list))
    for case in last.values():
        files[case.file][case.name.partition("[")[0]].append(case)
    lines = ["| file | test | passed | of | minutes |", "| --- | --- | --- | --- | --- |"]
    for file, functions in sorted(files.items()):
        every = [case for some in functions.values() for case in some]
        lines.append(f"| **{file}** | | **{passed(every)}** | **{len(every)}** | **{minutes(every)}** |")
        for name, some in functions.items():
            title = name.removeprefix("test_").replace("_", " ")
            lines.append(f"| | {title} | {passed(some)} | {len(some)} | {minutes(some)} |")
    return "\n".join(lines)


def passed(cases: list[Case]) -> int:
    """How many passed."""
    return sum(case.outcome == "passed" for case in cases)


def minutes(cases: list[Case]) -> str:
    """How long they took together.

    >>> minutes([Case("a", "b", "passed", 90.0), Case("a", "c", "passed", 3.0)])
    '1.6'
    """
    return f"{sum(case.seconds for case in cases) / 60:.1f}"


if __name__ == "__main__":
    print(table([case for path in sys.argv[1:] for case in cases_of(Path(path).read_text(encoding="utf-8"))]))
