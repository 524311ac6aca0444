# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of a run from its requests, their spread over runs, and what of two results differs. Pure functions.

Tools disagree on the names of metrics; docs/benchmark.md defines those here. Times in ms, rates a second.

This plugin util is private to the collection.
"""

from __future__ import annotations

import math
import statistics
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.export import Request

PERCENTS = (50, 90, 95, 99)
#: of a request's metrics, what is told of all requests
TIMES = ("ttft_ms", "itl_ms", "tpot_ms", "e2e_ms")
RATES = ("request_throughput", "output_token_throughput", "total_token_throughput")


class Slo(NamedTuple):
    """What a request must keep to count for the goodput; None for no limit. In ms."""

    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None

    @property
    def any(self) -> bool:
        """Whether there is a limit."""
        return any(one is not None for one in self)


def tpot(one: Request) -> float | None:
    """Time per output token: from the first token to the end, over the tokens after the first; None for one token."""
    if one.latency_ms is None or one.ttft_ms is None or not one.output_tokens or one.output_tokens < 2:
        return None
    return (one.latency_ms - one.ttft_ms) / (one.output_tokens - 1)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """By linear interpolation between the nearest two. :param ordered: ascending, at least one.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50), percentile([5.0], 99)
    (2.5, 5.0)
    """
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def spread_of(values: Sequence[float]) -> dict[str, float] | None:
    """Mean, deviation, ends and percentiles; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return {
        "mean": statistics.fmean(ordered),
        "std": statistics.stdev(ordered) if len(ordered) > 1 else 0.0,
        "min": ordered[0],
        "max": ordered[-1],
        **{f"p{percent}": percentile(ordered, percent) for percent in PERCENTS},
    }


def of_run(good: Sequence[Request], slo: Slo, duration_s: float | None = None) -> dict[str, Any]:
    """The figures of a run.

    :param good: its requests, all of which are good. :param duration_s: of all together, where none tells when it was.
    """
    tpots = [found for one in good if (found := tpot(one)) is not None]
    began = min((one.began_ns for one in good if one.began_ns is not None), default=0)
    ended = max((one.ended_ns for one in good if one.ended_ns is not None), default=0)
    seconds = (ended - began) / 1e9 if duration_s is None else duration_s
    given = sum(one.input_tokens or 0 for one in good)
    made = sum(one.output_tokens or 0 for one in good)

    def rate(count: float) -> float | None:
        return count / seconds if seconds > 0 else None

    kept = [one for one in good if _keeps(one, slo)]
    pieces = sum(len(one.gaps_ms) + 1 for one in good if one.gaps_ms)
    return {
        "duration_s": seconds,
        "input_tokens": given / len(good) if good else None,
        "output_tokens": made / len(good) if good else None,
        "tokens_a_piece": made / pieces if pieces else None,
        "ttft_ms": spread_of([one.ttft_ms for one in good if one.ttft_ms is not None]),
        "itl_ms": spread_of([gap for one in good for gap in one.gaps_ms]),
        "tpot_ms": spread_of(tpots),
        "e2e_ms": spread_of([one.latency_ms for one in good if one.latency_ms is not None]),
        "request_throughput": rate(len(good)),
        "output_token_throughput": rate(made),
        "total_token_throughput": rate(given + made),
        "goodput": rate(len(kept)) if slo.any else None,
        "goodput_share": len(kept) / len(good) if slo.any and good else None,
    }


def _keeps(one: Request, slo: Slo) -> bool:
    limits = ((one.ttft_ms, slo.ttft_ms), (tpot(one), slo.tpot_ms), (one.latency_ms, slo.e2e_ms))
    return all(limit is None or (value is not None and value <= limit) for value, limit in limits)


# Several runs of one cell


class Metric(NamedTuple):
    """What results are compared by."""

    name: str
    path: tuple[str, ...]
    higher_is_better: bool
    title: str
    unit: str


METRICS = (
    Metric("ttft_p50_ms", ("ttft_ms", "p50"), False, "TTFT, median", "ms"),
    Metric("ttft_p95_ms", ("ttft_ms", "p95"), False, "TTFT, 95 %", "ms"),
    Metric("itl_p50_ms", ("itl_ms", "p50"), False, "inter-token latency, median", "ms"),
    Metric("tpot_mean_ms", ("tpot_ms", "mean"), False, "time per output token, mean", "ms"),
    Metric("e2e_p50_ms", ("e2e_ms", "p50"), False, "end to end, median", "ms"),
    Metric("e2e_p95_ms", ("e2e_ms", "p95"), False, "end to end, 95 %", "ms"),
    Metric("request_throughput", ("request_throughput",), True, "requests", "1/s"),
    Metric("output_token_throughput", ("output_token_throughput",), True, "output tokens", "1/s"),
    Metric("goodput", ("goodput",), True, "goodput", "1/s"),
)


def value_at(figures: Mapping[str, Any], path: Sequence[str]) -> float | None:
    """A figure of a run, None where there is none."""
    found: Any = figures
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def over_runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each metric its mean over the good runs, with the ends, the deviation, and of how many runs that is."""
    made = {}
    for metric in METRICS:
        values = [found for one in runs if (found := value_at(one, metric.path)) is not None]
        if values:
            made[metric.name] = {
                "mean": statistics.fmean(values),
                "min": min(values),
                "max": max(values),
                "std": statistics.stdev(values) if len(values) > 1 else None,
                "runs": len(values),
            }
    return made
