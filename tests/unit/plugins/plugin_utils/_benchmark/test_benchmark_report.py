# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results beside each other, in every form that they are written in."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import benchmark_cases as cases
import jsonschema
import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import document, report
from plotly import graph_objects

DOCS = Path(__file__).parents[5] / "docs"
SWEEP = [dataclasses.replace(cases.QUICK, concurrency=number, requests=8) for number in (1, 4, 8)]
NASTY = '"><script>alert(1)</script> | =1+1'


def two() -> list[dict[str, Any]]:
    """One, and one that is a fifth slower."""
    return [cases.result(SWEEP, name="one"), cases.result(SWEEP, name="two", label="new image", slower=1.2, seed=2)]


def failed() -> dict[str, Any]:
    found = cases.result(SWEEP, name="broken")
    run = {**found["cells"][0]["runs"][0], "good": False, "problems": [f"1 of 8 requests: {NASTY}"], "figures": None}
    return document.with_run(found, SWEEP[0].key, run, 3)


class Page(HTMLParser):
    """The texts of a page, and its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.links: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        else:
            self.texts.append(data)


def test_the_json_has_the_published_shape() -> None:
    schema = json.loads((DOCS / "benchmark_report.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    made = report.document([*two(), failed()], "one", 1.0)
    jsonschema.validate(made, schema)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert {one["says"] for one in made["comparisons"][0]["differences"]} == {"worse"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**made, "more": 1}, schema)


def test_the_csv_has_a_line_for_each_load() -> None:
    rows = list(csv.DictReader(io.StringIO(report.table([*two(), failed()]))))
    assert [(row["result"], row["concurrency"], row["good_runs"]) for row in rows] == [
        *(("one", str(number), "3") for number in (1, 4, 8)),
        *(("two", str(number), "3") for number in (1, 4, 8)),
        *(("broken", str(number), "2" if number == 1 else "3") for number in (1, 4, 8)),
    ]
    assert float(rows[0]["tpot_mean_ms_mean"]) == pytest.approx(10, rel=0.05)
    assert float(rows[3]["tpot_mean_ms_mean"]) == pytest.approx(12, rel=0.05)
    assert rows[6]["problems"].startswith("run 1: 1 of 8 requests: ")
    assert {row["virtual"] for row in rows} == {"no"}


def test_a_label_is_no_formula() -> None:
    assert "'=cmd" in report.table([cases.result(label="=cmd|'/c calc'!A1")])


def test_markdown_names_what_exceeds_the_spread() -> None:
    text = report.markdown([*two(), failed()], "one", "today")
    assert "## two against one" in text
    assert "worse" in text
    assert "## broken against one\n\n- no difference exceeds the spread" in text
    assert "<script>alert(1)</script> \\| =1+1" in text.split("## What went wrong")[1]
    heads = {line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("|")}
    assert len(heads) == 1, "every row has every column"


def test_virtual_sparks_are_marked_in_every_form() -> None:
    results = [cases.result(virtual=True, name="v")]
    assert report.markdown(results, "v", "today").splitlines()[2] == f"**{document.VIRTUAL}.**"
    assert [row["virtual"] for row in csv.DictReader(io.StringIO(report.table(results)))] == ["yes"]
    assert report.document(results, "v", 1.0)["virtual"] is True
    page = Page(report.page(results, "v", "today", ""))
    assert f"{document.VIRTUAL}." in page.texts
    assert all("(virtual)" in line["name"] for plot in report.plots(results) for line in plot["data"])


def test_the_plots_have_a_point_for_each_load_and_each_percentile() -> None:
    throughput, ttft = report.plots([*two(), failed()])
    assert [len(line["x"]) for line in throughput["data"]] == [3, 3, 3]
    assert [line["text"] for line in throughput["data"]] == [["1", "4", "8"]] * 3
    assert [len(line["x"]) for line in ttft["data"]] == [4] * 9
    for plot in (throughput, ttft):
        graph_objects.Figure(data=plot["data"], layout=plot["layout"])  # plotly refuses what it does not know


def test_the_page_needs_nothing_from_elsewhere_and_escapes_everything() -> None:
    results = [*two(), failed(), cases.result(SWEEP, name="nasty", label=NASTY)]
    page = Page(report.page(results, "one", "today", 'let a = "</script>";'))
    assert page.links == ["data:,"]
    assert len(page.scripts) == 3
    assert json.loads(page.scripts[0]) == json.loads(json.dumps(report.plots(results)))
    assert page.scripts[1] == 'let a = "<\\/script>";'
    assert any(NASTY in text for text in page.texts)
    assert "worse" in " ".join(page.texts)


def test_the_page_tells_what_was_measured_on() -> None:
    one = cases.result()
    rows = dict(report.rows_of(one))
    assert rows["commit"] == one["model"]["commit"]
    assert rows["driver"] == "580.95.05"
    assert rows["transports"] == "IB"
    assert "spark1: 58 °C - 58 °C" in rows["temperature before and after"]
    assert rows["firmware"] == "?", "what was not told"
