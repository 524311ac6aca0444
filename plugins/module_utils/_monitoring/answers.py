# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge what the node exporter and Prometheus answer. Pure functions.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Iterable, Iterator, TypeVar

#: seconds after which a figure is an old one: the program writes every 5
OLD_S = 60.0
TIMESTAMP = "dgx_spark_metrics_timestamp_seconds"
#: targets of this job come and go with the engines
ENGINE_JOB = "engine"

Answer = TypeVar("Answer")


#: what Grafana calls a dashboard in its list
DASHBOARD = "dash-db"


class NotWatchedError(ValueError):
    """The Spark is not watched, or not yet; the message says what is lacking."""


def _reads(judge: Callable[..., Answer]) -> Callable[..., Answer]:
    """Have a judge say of an answer of another shape that it is one."""

    def judged(answer: Any, *more: Any) -> Answer:
        try:
            return judge(answer, *more)
        except (AttributeError, KeyError, TypeError) as error:
            raise NotWatchedError(
                f"Prometheus or Grafana answers in another shape ({type(error).__name__}: {error})"
            ) from None

    return judged


def figures(text: str, now: float) -> str:
    """What the node exporter tells, in words. :raises NotWatchedError: where the own figures of the collection lack."""
    names = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    match = re.search(rf"^{TIMESTAMP} ([0-9]+(?:\.[0-9]+)?(?:e\+[0-9]{{1,2}})?)$", text, re.MULTILINE)
    if not match:
        raise NotWatchedError("the node exporter has no figures of the engine, the GPU and the fabric")
    age = now - float(match[1])
    if age > OLD_S:
        raise NotWatchedError(f"the figures of the engine, the GPU and the fabric are {age:.0f} s old")
    own = sum(name.startswith("dgx_spark_") for name in names)
    return f"the node exporter tells {len(names)} metrics, {own} of the engine, the GPU and the fabric"


@_reads
def targets(answer: Any) -> str:
    """Whom Prometheus asks, in words. :raises NotWatchedError: where one that is no engine does not answer."""
    active = [one for one in answer["activeTargets"] if one["labels"]["job"] != ENGINE_JOB]
    lost = [one for one in active if one["health"] != "up"]
    if lost or not active:
        said = [f"{one['scrapeUrl']} ({one.get('lastError') or 'not asked yet'})" for one in lost]
        raise NotWatchedError(f"Prometheus does not read {', '.join(said) or 'anything'}")
    return f"Prometheus reads {len(active)} targets"


@_reads
def rules(answer: Any) -> str:
    """The rules, in words. :raises NotWatchedError: where one cannot be evaluated, or there is none."""
    every = list(_rules(answer))
    wrong = [f"{one['name']} ({one.get('lastError') or 'not evaluated yet'})" for one in every if one["health"] != "ok"]
    if wrong or not every:
        raise NotWatchedError(f"Prometheus evaluates not {', '.join(wrong) or 'any rule'}")
    return f"Prometheus evaluates {len(every)} rules"


@_reads
def alertmanagers(answer: Any) -> str:
    """Who takes alerts, in words. :raises NotWatchedError: where nobody does."""
    if not answer["activeAlertmanagers"]:
        raise NotWatchedError("no Alertmanager takes Prometheus' alerts")
    return "Alertmanager takes alerts"


@_reads
def firing(answer: Any) -> list[str]:
    """The alerts that fire, each with its Spark."""
    alerts = [alert for rule in _rules(answer) for alert in rule.get("alerts") or []]
    return sorted(
        {
            f"{one['labels']['alertname']} on {one['labels'].get('spark') or 'the cluster'}"
            for one in alerts
            if one["state"] == "firing"
        }
    )


@_reads
def grafana(answer: Any) -> str:
    """Whether Grafana is well, in words, as its ``/api/health`` tells. :raises NotWatchedError: where it is not yet."""
    if answer["database"] != "ok":
        raise NotWatchedError(f"Grafana's own database is {answer['database']}")
    return f"Grafana {answer.get('version') or ''} answers".replace("  ", " ")


@_reads
def dashboards(answer: Any, wanted: Iterable[str]) -> str:
    """The dashboards, in words. :param wanted: their uids. :raises NotWatchedError: where one is not there."""
    there = {str(one["uid"]) for one in answer if one["type"] == DASHBOARD}
    lacking = sorted(set(wanted) - there)
    if lacking:
        raise NotWatchedError(f"Grafana does not show {', '.join(lacking)}")
    return f"it shows {len(set(wanted))} dashboards to its admin"


@_reads
def datasource(answer: Any) -> str:
    """Whether Grafana reads Prometheus, in words, as its datasource's ``health`` tells. :raises NotWatchedError:"""
    if answer["status"] != "OK":
        raise NotWatchedError(f"Grafana does not read Prometheus ({answer.get('message') or answer['status']})")
    return "it reads Prometheus"


def _rules(answer: Any) -> Iterator[dict[str, Any]]:
    for group in answer["groups"]:
        yield from group["rules"]
