# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboards are what the SDK makes, name only metrics that somebody tells, and every query of them parses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring import layout
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._monitoring import options
from dgx_spark_metrics import fabric
from test_rules import rules, run

from tests import dashboards

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "roles" / "monitoring" / "files" / "dashboards"
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.iterdir())}
METRICS = yaml.safe_load((Path(__file__).parent / "metrics.yml").read_text(encoding="utf-8"))
#: what in a query is no metric: PromQL's own words, its functions, and labels
WORD = re.compile(r"(?<![\w:$])[A-Za-z_:][\w:]*(?!\w*\s*[(=!~])(?![\w:])")
KEYWORDS = {"by", "or", "and", "on", "unless", "without", "bool", "ignoring", "offset"}
every_page = pytest.mark.parametrize("name", list(TEXTS))


def panels(name: str) -> list[dict[str, Any]]:
    """All panels of a dashboard that ask something."""
    return [one for one in json.loads(TEXTS[name])["panels"] if one["type"] != "row"]


def expressions(name: str) -> list[str]:
    return [target["expr"] for panel in panels(name) for target in panel["targets"]]


def metrics_in(expr: str) -> set[str]:
    """The names of metrics in a query.

    >>> sorted(metrics_in('sum by (serving) (rate(a_total{b="c"}[1m]) or vllm:d{e=~"$f"}) / (up > 0)'))
    ['a_total', 'up', 'vllm:d']
    """
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\"[^\"]*\"|\b(by|on|without|ignoring)\s*\([^)]*\)", " ", expr)
    return {word for word in WORD.findall(bare) if word not in KEYWORDS}


def known() -> Iterator[str]:
    for one in METRICS:
        yield from one["names"]


def test_the_dashboards_are_those_that_the_script_makes() -> None:
    assert dashboards.texts() == TEXTS, "run make dashboards"
    assert dashboards.DATASOURCE == layout.DATASOURCE
    assert options.HOME in TEXTS
    assert set(dashboards.CONGESTION.split("|")) <= set(fabric.EVENTS)


def test_every_metric_is_one_that_somebody_tells_and_the_list_has_no_others() -> None:
    named = {metric for name in TEXTS for expr in expressions(name) for metric in metrics_in(expr)}
    assert sorted(named - set(known())) == [], "in a dashboard, and not in metrics.yml"
    assert sorted(set(known()) - named) == [], "in metrics.yml, and in no dashboard"


def test_the_list_says_of_each_metric_where_it_comes_from() -> None:
    assert {one["seen"] for one in METRICS} <= {"scrape", "program", "source", "hardware"}
    assert all(one["source"] for one in METRICS)
    listed = list(known())
    assert sorted(listed) == sorted(set(listed)), "twice"


def test_what_the_collection_tells_itself_is_in_its_program_and_in_its_rules() -> None:
    program = ROOT / "roles" / "monitoring" / "files" / "program" / "dgx_spark_metrics"
    source = "\n".join(path.read_text(encoding="utf-8") for path in program.glob("*.py"))
    written = set(re.findall(r'"(dgx_spark_\w+)"', source))
    for prefix in re.findall(r'f"(dgx_spark_\w+_)\{name\}"', source):
        written |= {prefix + short for short in re.findall(r'^\s+\(?"([a-z_]+)",', source, re.MULTILINE)}
        written |= {prefix + short for short in re.findall(r'\("([a-z_]+)", "', source)}
    records = {rule["record"] for rule in rules() if "record" in rule}
    own = {name for one in METRICS if one["seen"] == "program" for name in one["names"]}
    assert sorted(own - written - records) == []


def test_dcgm_is_asked_for_what_the_dashboards_show_of_it() -> None:
    named = {metric for name in TEXTS for expr in expressions(name) for metric in metrics_in(expr)}
    assert {one for one in named if one.startswith("DCGM_")} <= set(options.DCGM_FIELDS)


def test_every_query_parses(tmp_path: Path) -> None:
    """By Prometheus' own promtool, as the expressions of rules."""
    every = [expr for name in TEXTS for expr in expressions(name)]
    plain = [re.sub(r"\$[a-z_]+", ".*", expr) for expr in every]
    path = tmp_path / "queries.yml"
    recorded = [{"record": f"query_{number}", "expr": expr} for number, expr in enumerate(plain)]
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    assert f"SUCCESS: {len(every)} rules found" in run("check", "rules", path)


@every_page
def test_a_dashboard_asks_the_role_s_prometheus_and_narrows_by_what_it_offers(name: str) -> None:
    page = json.loads(TEXTS[name])
    offered = {one["name"]: one for one in page["templating"]["list"]}
    used = {word for expr in expressions(name) for word in re.findall(r"\$([a-z_]+)", expr)}
    assert used <= set(offered)
    assert set(offered) - used <= {"spark"}, "offered, and without an effect"
    sources = [panel["datasource"] for panel in panels(name)]
    sources += [target["datasource"] for panel in panels(name) for target in panel["targets"]]
    sources += [one["datasource"] for one in offered.values()]
    assert {one["uid"] for one in sources} == {layout.DATASOURCE}
    assert page["uid"] == name.rpartition(".")[0]


@every_page
def test_a_panel_has_a_name_a_unit_and_a_place_of_its_own(name: str) -> None:
    seen: set[tuple[int, int]] = set()
    for panel in json.loads(TEXTS[name])["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & seen, panel["title"]
        assert at["x"] + at["w"] <= 24
        seen |= cells
    titles = [panel["title"] for panel in panels(name)]
    assert sorted(titles) == sorted(set(titles))
    without = [
        one["title"]
        for one in panels(name)
        if one["type"] == "timeseries" and "unit" not in one["fieldConfig"]["defaults"]
    ]
    assert without == []
