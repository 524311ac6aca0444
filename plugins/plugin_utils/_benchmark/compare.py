# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which differences between two results exceed the spread of their runs. Pure functions.

A difference counts where the means are further apart than both spreads together (a spread is the greatest less the
smallest of the runs), and further than the client itself can tell. So all runs of one lie beyond all runs of the other,
with room between.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import clients
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.figures import METRICS, Metric

LEAST_SHARE = 0.02  #: of the mean, nothing less is a difference
#: ms by which the client itself is late with a first token: seen of AIPerf 0.13 on two cores, at few requests and many
CLIENT_MS, CLIENT_BUSY_MS, BUSY = 6.0, 20.0, 16
BETTER, WORSE, SAME, UNKNOWN = "better", "worse", "no difference", "cannot tell"


class CompareError(ValueError):
    """Two results are not to be compared. The message says why, and what to do."""


class Difference(NamedTuple):
    """One metric of one load in two results."""

    key: str  # the load's
    metric: Metric
    one: float
    other: float
    share: float  # of the other over the one, less 1
    says: str  # BETTER, WORSE, SAME or UNKNOWN: of the other
    why: str

    @property
    def words(self) -> str:
        """For people."""
        unit = f" {self.metric.unit}"
        return (
            f"{self.key}: {self.metric.title} {self.one:.4g} -> {self.other:.4g}{unit} ({self.share:+.1%}): {self.says}"
            f"{f' ({self.why})' if self.why else ''}"
        )


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    """Every metric of every load that both have.

    :raises CompareError: where one was measured on virtual Sparks and the other was not, or by another client, or no
        load is in both.
    """
    if one["virtual"] != other["virtual"]:
        virtual, real = (one, other) if one["virtual"] else (other, one)
        raise CompareError(
            f"{virtual['name']} was measured on virtual Sparks, and {real['name']} was not: the former says nothing "
            "about a DGX Spark. Compare results of one kind."
        )
    mine, its = clients.name_of(one), clients.name_of(other)
    if mine != its:
        raise CompareError(
            f"{one['name']} was measured by {mine}, and {other['name']} by {its}: they ask other "
            "prompts, from another place, and count otherwise. Compare results of one client."
        )
    loads = {cell["key"]: cell for cell in other["cells"]}
    both = [
        (cell, loads[cell["key"]])
        for cell in one["cells"]
        if cell["key"] in loads and _load(cell) == _load(loads[cell["key"]])
    ]
    if not both:
        raise CompareError(
            f"{one['name']} and {other['name']} have no load in common: measure both by the same profile."
        )
    return [found for mine, its in both for metric in METRICS if (found := _difference(mine, its, metric))]


def _load(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(cell["load"][name] for name in ("input", "output", "depth", "concurrency", "rate"))


def _difference(mine: Mapping[str, Any], its: Mapping[str, Any], metric: Metric) -> Difference | None:
    first, second = mine["over_runs"].get(metric.name), its["over_runs"].get(metric.name)
    if first is None or second is None or not first["mean"]:
        return None
    apart = second["mean"] - first["mean"]
    share = apart / first["mean"]
    says, why = _judged(mine, first, second, metric, apart)
    return Difference(mine["key"], metric, first["mean"], second["mean"], share, says, why)


def _judged(
    mine: Mapping[str, Any], first: Mapping[str, Any], second: Mapping[str, Any], metric: Metric, apart: float
) -> tuple[str, str]:
    if min(first["runs"], second["runs"]) < 2:
        return UNKNOWN, "one run has no spread: measure with benchmark_runs of 2 at least"
    spreads = sum(one["max"] - one["min"] for one in (first, second))
    own = _own(metric, mine["load"]["concurrency"])
    limit = max(spreads, LEAST_SHARE * first["mean"], own)
    if abs(apart) <= limit:
        return SAME, ""
    return (BETTER if (apart > 0) == metric.higher_is_better else WORSE), ""


def _own(metric: Metric, at_once: int) -> float:
    """What of a metric may be the client's own, in its unit."""
    if not metric.name.startswith("ttft"):
        return 0.0
    return CLIENT_BUSY_MS if at_once >= BUSY else CLIENT_MS


def told(found: list[Difference]) -> list[str]:
    """What exceeds the spread, a line each; and that nothing does, where that is so.

    >>> told([])
    ['no difference exceeds the spread']
    """
    named = [one.words for one in found if one.says in (BETTER, WORSE)]
    unknown = sum(one.says == UNKNOWN for one in found)
    lines = named or ([] if unknown and unknown == len(found) else ["no difference exceeds the spread"])
    return [*lines, *([f"{unknown} differences cannot be told: {_why(found)}"] if unknown else [])]


def _why(found: list[Difference]) -> str:
    return next(one.why for one in found if one.says == UNKNOWN)


def provenance(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What else is not the same of two results, a line each, so that a difference can have another cause.

    >>> provenance({"model": {"commit": "a"}}, {"model": {"commit": "b"}})
    ['model commit: a -> b']
    """
    return [f"{name}: {mine} -> {its}" for name, path in ALIKE if (mine := _at(one, path)) != (its := _at(other, path))]


#: what should be the same, and where a document has it
ALIKE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("model", ("model", "repo")),
    ("model commit", ("model", "commit")),
    ("image digest", ("serving", "image", "base_digest")),
    ("flags", ("serving", "flags")),
    ("YAML", ("serving", "yaml")),
    ("NCCL", ("serving", "nccl")),
    ("launcher", ("serving", "launcher")),
    ("Sparks", ("cluster", "shape")),
    ("kernel", ("cluster", "sparks", "kernel")),
    ("driver", ("cluster", "sparks", "driver")),
    ("firmware", ("cluster", "sparks", "firmware")),
    ("MTU", ("cluster", "sparks", "links", "mtu")),
    ("transports", ("serving", "ranks", "transport")),
    ("client", ("client", "version")),
    ("endpoint", ("endpoint",)),
)


def _at(found: Any, path: tuple[str, ...]) -> Any:
    """What a document has at a path, of a list what each has."""
    for place, name in enumerate(path):
        if isinstance(found, (list, tuple)):
            return [_at(one, path[place:]) for one in found]
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
