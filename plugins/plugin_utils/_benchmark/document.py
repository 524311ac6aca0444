# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A result as one document, and as a table. Pure functions. docs/benchmark.schema.json has its shape.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import clients, figures
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.cells import Cell

SCHEMA = 1
VIRTUAL = "VIRTUAL SPARKS: these figures say nothing about a DGX Spark"


def begun(head: Mapping[str, Any], some: Sequence[Cell]) -> dict[str, Any]:
    """A document without a run. :param head: all that is not of a cell."""
    rows = [{"key": cell.key, "load": cell.to_json(), "runs": [], "good": False, "over_runs": {}} for cell in some]
    return {"schema": SCHEMA, "good": False, **head, "cells": rows}


def with_run(document: Mapping[str, Any], key: str, run: Mapping[str, Any], runs: int) -> dict[str, Any]:
    """The document with one run more, in the place of one with the same number. :param runs: that a cell is to have."""
    return {
        **document,
        **_cells([_with(cell, run, runs) if cell["key"] == key else cell for cell in document["cells"]]),
    }


def with_client(document: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The document with its client's version, where that is told by the first run alone.

    >>> with_client({"client": {"name": "a", "version": ""}}, "1.2")
    {'client': {'name': 'a', 'version': '1.2'}}
    >>> with_client({"client": {"name": "a", "version": "1"}}, "2")
    {'client': {'name': 'a', 'version': '1'}}
    """
    client = document.get("client") or {}
    if not client or client.get("version"):
        return dict(document)
    return {**document, "client": {**client, "version": version}}


def _with(cell: Mapping[str, Any], run: Mapping[str, Any], runs: int) -> dict[str, Any]:
    others = [one for one in cell["runs"] if one["run"] != run["run"]]
    every = sorted([*others, dict(run)], key=lambda one: one["run"])
    good = [one for one in every if one["good"]]
    return {
        **cell,
        "runs": every,
        "good": len(good) == len(every) == runs,
        "over_runs": figures.over_runs([one["figures"] for one in good]),
    }


def _cells(cells: list[dict[str, Any]]) -> dict[str, Any]:
    return {"cells": cells, "good": bool(cells) and all(cell["good"] for cell in cells)}


HEADS = ("LOAD", "RUNS", "TTFT P50", "P95", "ITL P50", "TPOT", "E2E P50", "REQ/S", "TOK/S", "SPREAD")
SHOWN = (
    ("ttft_p50_ms", 0),
    ("ttft_p95_ms", 0),
    ("itl_p50_ms", 1),
    ("tpot_mean_ms", 1),
    ("e2e_p50_ms", 0),
    ("request_throughput", 2),
    ("output_token_throughput", 1),
)


def table(document: Mapping[str, Any]) -> list[str]:
    """The result for a terminal: a row a cell, means over its good runs, and what went wrong."""
    rows = [list(HEADS), *(_row(cell, document["runs"]) for cell in document["cells"])]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADS))]
    lines = [
        "  ".join(
            value.ljust(width) if not place else value.rjust(width)
            for place, (value, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
    wrong = [
        f"  {cell['key']}, run {run['run']}: {problem}"
        for cell in document["cells"]
        for run in cell["runs"]
        for problem in run["problems"]
    ]
    notes = clients.notes([document]) if clients.name_of(document) != clients.NAMES[clients.AIPERF] else []
    return [*([VIRTUAL] if document["virtual"] else []), *lines, *(["NOT GOOD", *wrong] if wrong else []), *notes]


def _row(cell: Mapping[str, Any], runs: int) -> list[str]:
    over = cell["over_runs"]
    good = sum(one["good"] for one in cell["runs"])

    def told(name: str, digits: int) -> str:
        return f"{over[name]['mean']:,.{digits}f}" if name in over else "-"

    return [
        cell["key"],
        f"{good} of {runs}",
        *(told(name, digits) for name, digits in SHOWN),
        _spread(over.get("output_token_throughput")),
    ]


def _spread(over: Mapping[str, Any] | None) -> str:
    """How far the runs are apart, as a share of their mean.

    >>> _spread({"mean": 100.0, "min": 98.0, "max": 101.0, "runs": 3}), _spread({"mean": 1.0, "runs": 1}), _spread(None)
    ('3.0%', '?', '-')
    """
    if over is None:
        return "-"
    if over["runs"] < 2 or not over["mean"]:
        return "?"
    return f"{100 * (over['max'] - over['min']) / over['mean']:.1f}%"
