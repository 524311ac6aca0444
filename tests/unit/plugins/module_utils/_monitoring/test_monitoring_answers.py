# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a Spark is watched is judged by what the node exporter and Prometheus answer, also by damaged answers."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any, Callable

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring import answers, host
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring.answers import NotWatchedError
from damaged import values
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_800_000_000.0
FIGURES = (
    f"# TYPE up gauge\n# TYPE dgx_spark_gpu_up gauge\n# TYPE {answers.TIMESTAMP} gauge\n{answers.TIMESTAMP} {NOW - 3}\n"
)
TARGETS: dict[str, Any] = {
    "activeTargets": [
        {"labels": {"job": "spark"}, "health": "up", "scrapeUrl": "http://127.0.0.1:9100/metrics", "lastError": ""},
        {"labels": {"job": "engine"}, "health": "down", "scrapeUrl": "http://127.0.0.1:8355/x", "lastError": "refused"},
    ]
}
RULES: dict[str, Any] = {
    "groups": [
        {
            "rules": [
                {"name": "spark:x", "health": "ok"},
                {
                    "name": "GpuHot",
                    "health": "ok",
                    "alerts": [
                        {"labels": {"alertname": "GpuHot", "spark": "spark2"}, "state": "firing"},
                        {"labels": {"alertname": "GpuHot", "spark": "spark1"}, "state": "pending"},
                    ],
                },
            ]
        }
    ]
}


def test_a_spark_that_is_watched_is_said_to_be_so() -> None:
    assert answers.figures(FIGURES, NOW) == "the node exporter tells 3 metrics, 2 of the engine, the GPU and the fabric"
    assert answers.targets(TARGETS) == "Prometheus reads 1 targets"
    assert answers.rules(RULES) == "Prometheus evaluates 2 rules"
    assert answers.firing(RULES) == ["GpuHot on spark2"]
    assert answers.alertmanagers({"activeAlertmanagers": [{"url": "x"}]}) == "Alertmanager takes alerts"


def changed(value: dict[str, Any], **own: Any) -> dict[str, Any]:
    damaged = copy.deepcopy(value)
    first = damaged["activeTargets"][0] if "activeTargets" in damaged else damaged["groups"][0]["rules"][0]
    first.update(own)
    return damaged


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        (lambda: answers.figures("# TYPE up gauge\n", NOW), "has no figures of the engine"),
        (lambda: answers.figures(FIGURES, NOW + 100), "are 103 s old"),
        (lambda: answers.targets(changed(TARGETS, health="down", lastError="refused")), "refused"),
        (lambda: answers.targets(changed(TARGETS, health="unknown")), "not asked yet"),
        (lambda: answers.targets({"activeTargets": []}), "does not read anything"),
        (lambda: answers.rules(changed(RULES, health="err", lastError="bad")), "spark:x (bad)"),
        (lambda: answers.rules({"groups": []}), "evaluates not any rule"),
        (lambda: answers.alertmanagers({"activeAlertmanagers": []}), "no Alertmanager"),
    ],
)
def test_what_is_lacking_is_named(judge: Callable[[], object], said: str) -> None:
    with pytest.raises(NotWatchedError) as caught:
        judge()
    assert said in str(caught.value)


@given(values(TARGETS), values(RULES), st.text())
def test_a_damaged_answer_is_said_to_be_one(targets: Any, rules: Any, text: str) -> None:
    for judge, answer in (
        (answers.targets, targets),
        (answers.rules, rules),
        (answers.firing, rules),
        (answers.alertmanagers, targets),
    ):
        with suppress(NotWatchedError):
            judge(answer)
    with suppress(NotWatchedError):
        answers.figures(text, NOW)


@given(st.text())
def test_whatever_systemd_prints_is_read(said: str) -> None:
    assert isinstance(host.read_units(said, NOW, 10.0), dict)


def test_a_unit_that_never_ran_has_started_in_no_time() -> None:
    said = "Id=a.service\nActiveState=inactive\nActiveEnterTimestampMonotonic=0\n"
    assert host.read_units(said, NOW, 100.0)["a.service"]["active"] == "inactive"


HEALTH = {"database": "ok", "version": "13.2.3"}
LISTED = [{"uid": "dgx-spark-engine", "type": "dash-db"}, {"uid": "DGX Spark", "type": "dash-folder"}]


def test_a_grafana_that_shows_all_is_said_to_do_so() -> None:
    assert answers.grafana(HEALTH) == "Grafana 13.2.3 answers"
    assert answers.grafana({"database": "ok"}) == "Grafana answers"
    assert answers.dashboards(LISTED, ["dgx-spark-engine"]) == "it shows 1 dashboards to its admin"
    assert answers.datasource({"status": "OK", "message": "fine"}) == "it reads Prometheus"


@pytest.mark.parametrize(
    ("judge", "answer", "said"),
    [
        (answers.grafana, {"database": "failing"}, "Grafana's own database is failing"),
        (lambda one: answers.dashboards(one, ["dgx-spark-engine", "a"]), LISTED, "Grafana does not show a"),
        (lambda one: answers.dashboards(one, ["DGX Spark"]), LISTED, "Grafana does not show DGX Spark"),
        (answers.datasource, {"status": "ERROR", "message": "refused"}, "does not read Prometheus (refused)"),
        (answers.grafana, [], "another shape"),
        (lambda one: answers.dashboards(one, []), {"message": "x"}, "another shape"),
    ],
)
def test_a_grafana_that_is_not_well_is_waited_for(judge: Callable[[Any], str], answer: Any, said: str) -> None:
    with pytest.raises(NotWatchedError) as caught:
        judge(answer)
    assert said in str(caught.value)
