# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results beside each other: as a page, as CSV, as Markdown and as JSON. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

import csv
import io
import json
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import clients, compare
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.document import VIRTUAL
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.figures import METRICS, PERCENTS
from jinja2 import Environment, StrictUndefined

SCHEMA = 1
TEMPLATE = Path(__file__).with_name("report.html.j2")
#: apart for eyes that see few colours, and readable on white as on black (Okabe and Ito)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a00", "#999999")


class Comparison(NamedTuple):
    """A result beside the one that all are compared with."""

    one: str
    other: str
    problem: str  # why they are not compared, empty where they are
    differences: list[compare.Difference]
    provenance: list[str]  # what else is not the same


def compared(results: Sequence[Mapping[str, Any]], baseline: str) -> list[Comparison]:
    """All results beside one. :param baseline: its name."""
    one = next(result for result in results if result["name"] == baseline)
    made = []
    for other in results:
        if other is one:
            continue
        try:
            found, problem = compare.differences(one, other), ""
        except compare.CompareError as error:
            found, problem = [], str(error)
        made.append(Comparison(one["name"], other["name"], problem, found, compare.provenance(one, other)))
    return made


def title(result: Mapping[str, Any]) -> str:
    """What people call a result.

    >>> title({"label": "fp8 KV", "name": "a-1", "virtual": False}), title({"label": "", "name": "a", "virtual": True})
    ('fp8 KV', 'a (virtual)')
    """
    client = clients.name_of(result)
    by = f" ({client})" if client != clients.NAMES[clients.AIPERF] else ""
    return f"{result['label'] or result['name']}{by}{' (virtual)' if result['virtual'] else ''}"


# For programs


def document(results: Sequence[Mapping[str, Any]], baseline: str, now: float) -> dict[str, Any]:
    """All of it. docs/benchmark_report.schema.json has its shape."""
    return {
        "schema": SCHEMA,
        "at": now,
        "virtual": any(result["virtual"] for result in results),
        "baseline": baseline,
        "results": list(results),
        "comparisons": [
            {
                "one": one.one,
                "other": one.other,
                "problem": one.problem,
                "provenance": one.provenance,
                "differences": [
                    {
                        "load": found.key,
                        "metric": found.metric.name,
                        "one": found.one,
                        "other": found.other,
                        "share": found.share,
                        "says": found.says,
                        "why": found.why,
                    }
                    for found in one.differences
                ],
            }
            for one in compared(results, baseline)
        ],
    }


HEAD = (
    "result",
    "label",
    "virtual",
    "client",
    "model",
    "commit",
    "sparks",
    "load",
    "input",
    "output",
    "depth",
    "concurrency",
    "rate",
)


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """CSV, a line for each load of each result: what it is, the means over good runs with their ends, and problems."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    figures = [f"{metric.name}_{end}" for metric in METRICS for end in ("mean", "min", "max")]
    writer.writerow([*HEAD, "runs", "good_runs", *figures, "problems"])
    for result in results:
        for cell in result["cells"]:
            load = cell["load"]
            over = cell["over_runs"]
            values = [
                f"{over[metric.name][end]:.6g}" if metric.name in over else ""
                for metric in METRICS
                for end in ("mean", "min", "max")
            ]
            writer.writerow(
                [
                    *(result["name"], _plain(result["label"]), "yes" if result["virtual"] else "no"),
                    clients.name_of(result),
                    *(_plain(_model(result)), result["model"]["commit"] or "", len(result["cluster"]["sparks"])),
                    *(cell["key"], load["input"], load["output"], load["depth"], load["concurrency"], load["rate"]),
                    *(result["runs"], sum(run["good"] for run in cell["runs"])),
                    *values,
                    _plain("; ".join(problems_of(cell))),
                ]
            )
    return stream.getvalue()


def _plain(text: str) -> str:
    """Text that no spreadsheet takes for a formula.

    >>> _plain("=1+1"), _plain("a=1")
    ("'=1+1", 'a=1')
    """
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text


def _model(result: Mapping[str, Any]) -> str:
    return str(result["model"]["repo"] or result["model"]["name"])


def problems_of(cell: Mapping[str, Any]) -> list[str]:
    """What went wrong with a load, each run's first with its number."""
    return [f"run {run['run']}: {problem}" for run in cell["runs"] for problem in run["problems"]]


# For people

COLUMNS = (
    ("ttft_p50_ms", "TTFT p50, ms", 0),
    ("ttft_p95_ms", "TTFT p95, ms", 0),
    ("itl_p50_ms", "ITL p50, ms", 1),
    ("tpot_mean_ms", "TPOT, ms", 1),
    ("e2e_p50_ms", "end to end p50, ms", 0),
    ("request_throughput", "requests/s", 2),
    ("output_token_throughput", "tokens/s", 1),
)


def shown(cell: Mapping[str, Any], name: str, digits: int) -> str:
    """A figure over runs with how far they are apart, a question mark where there is one run, a dash for none.

    >>> shown({"over_runs": {"a": {"mean": 10.0, "min": 9.5, "max": 10.5, "runs": 3}}}, "a", 1)
    '10.0 ± 0.5'
    >>> shown({"over_runs": {}}, "a", 1)
    '-'
    """
    over = cell["over_runs"].get(name)
    if over is None:
        return "-"
    if over["runs"] < 2:
        return f"{over['mean']:,.{digits}f} ± ?"
    return f"{over['mean']:,.{digits}f} ± {(over['max'] - over['min']) / 2:,.{digits}f}"


def markdown(results: Sequence[Mapping[str, Any]], baseline: str, when: str) -> str:
    """The same for a page of text."""
    lines = [f"# Benchmark, {when}", ""]
    if any(result["virtual"] for result in results):
        lines += [f"**{VIRTUAL}.**", ""]
    heads = ["result", "load", "runs", *(head for _name, head, _digits in COLUMNS)]
    lines += [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for result in results:
        for cell in result["cells"]:
            good = sum(run["good"] for run in cell["runs"])
            figures = [shown(cell, name, digits) for name, _head, digits in COLUMNS]
            row = [title(result), cell["key"], f"{good} of {result['runs']}", *figures]
            lines.append(f"| {' | '.join(_cell(one) for one in row)} |")
    lines += ["", f"± is half of what the good runs are apart. {' '.join(clients.notes(results))}", ""]
    for one in compared(results, baseline):
        lines += [f"## {_cell(one.other)} against {_cell(one.one)}", ""]
        lines += [f"- {_cell(line)}" for line in ([one.problem] if one.problem else compare.told(one.differences))]
        lines += [f"- also not the same: {_cell(_short(line))}" for line in one.provenance] + [""]
    wrong = [
        (title(result), cell["key"], line)
        for result in results
        for cell in result["cells"]
        for line in problems_of(cell)
    ]
    if wrong:
        lines += [
            "## What went wrong",
            "",
            *(f"- {_cell(name)}, {key}, {_cell(line)}" for name, key, line in wrong),
            "",
        ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text that breaks no table."""
    return " ".join(text.replace("|", "\\|").split())


def _short(line: str) -> str:
    return line if len(line) <= 300 else f"{line[:300]}…"


# The page


def plots(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The plots as plotly.js has them: ``id``, ``title``, ``data`` and ``layout``, without colours of the ground; and
    a ``legend``: names with their colours and dashes."""
    return [_throughput(results), _first_tokens(results)]


def _throughput(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A point for each load, more requests at once from left to right."""
    data = []
    for number, result in enumerate(results):
        cells = sorted(
            (one for one in result["cells"] if {"e2e_p50_ms", "output_token_throughput"} <= set(one["over_runs"])),
            key=lambda one: (one["load"]["concurrency"], one["key"]),
        )
        speed = [cell["over_runs"]["output_token_throughput"] for cell in cells]
        latency = [cell["over_runs"]["e2e_p50_ms"] for cell in cells]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers+text",
                "name": title(result),
                "x": [one["mean"] for one in latency],
                "y": [one["mean"] for one in speed],
                "error_x": _ends(latency),
                "error_y": _ends(speed),
                "text": [str(cell["load"]["concurrency"]) for cell in cells],
                "textposition": "top center",
                "customdata": [cell["key"] for cell in cells],
                "hovertemplate": "%{customdata}<br>%{y:.1f} tokens/s<br>%{x:.0f} ms<extra>%{fullData.name}</extra>",
                "marker": {"color": _colour(number), "size": 9},
                "line": {"color": _colour(number)},
            }
        )
    layout = {
        "xaxis": {"title": {"text": "end to end, median, ms"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "output tokens/s"}, "rangemode": "tozero"},
    }
    legend = [(title(result), _colour(number), "solid") for number, result in enumerate(results)]
    return {
        "id": "throughput",
        "title": "Throughput against latency",
        "data": data,
        "layout": layout,
        "legend": legend,
    }


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _ends(some: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [one["max"] - one["mean"] for one in some],
        "arrayminus": [one["mean"] - one["min"] for one in some],
        "thickness": 1,
    }


def _first_tokens(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A line for each load, a point for each percentile, the mean over its good runs."""
    data: list[dict[str, Any]] = []
    keys = dict.fromkeys(cell["key"] for result in results for cell in result["cells"])
    dashes = {key: DASHES[place % len(DASHES)] for place, key in enumerate(keys)}
    legend = [(title(result), _colour(number), "solid") for number, result in enumerate(results)]
    legend += [(key, "currentColor", dash) for key, dash in dashes.items()] if len(dashes) > 1 else []
    for number, result in enumerate(results):
        for cell in result["cells"]:
            spreads = [run["figures"]["ttft_ms"] for run in cell["runs"] if run["good"] and run["figures"]["ttft_ms"]]
            if not spreads:
                continue
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": f"{title(result)}, {cell['key']}",
                    "x": [f"p{percent}" for percent in PERCENTS],
                    "y": [sum(one[f"p{percent}"] for one in spreads) / len(spreads) for percent in PERCENTS],
                    "hovertemplate": "%{x}: %{y:.0f} ms<extra>%{fullData.name}</extra>",
                    "marker": {"color": _colour(number), "size": 7},
                    "line": {"color": _colour(number), "dash": dashes[cell["key"]]},
                }
            )
    layout = {
        "xaxis": {"title": {"text": "percentile of requests"}, "type": "category"},
        "yaxis": {"title": {"text": "TTFT, ms"}, "rangemode": "tozero"},
    }
    return {"id": "ttft", "title": "Time to the first token", "data": data, "layout": layout, "legend": legend}


DASHES = ("solid", "dot", "dash", "dashdot")


def page(results: Sequence[Mapping[str, Any]], baseline: str, when: str, plotly: str) -> str:
    """One page of HTML that needs nothing from elsewhere. Every value is escaped.

    :param plotly: plotly.js, whole. :param when: the time, for people.
    """
    drawn = plots(results)
    return str(
        _template().render(
            results=results,
            title=title,
            shown=shown,
            columns=COLUMNS,
            problems_of=problems_of,
            comparisons=[
                (one, [one.problem] if one.problem else compare.told(one.differences))
                for one in compared(results, baseline)
            ],
            matrix=matrix(results, baseline),
            baseline=baseline,
            provenance=[(title(result), rows_of(result)) for result in results],
            virtual=VIRTUAL if any(result["virtual"] for result in results) else "",
            plots=drawn,
            # Within a script's element, nothing ends it.
            drawn=json.dumps(drawn).replace("<", "\\u003c"),
            plotly=plotly.replace("</script", "<\\/script"),
            client=" ".join(clients.notes(results)),
            when=when,
        )
    )


def matrix(results: Sequence[Mapping[str, Any]], baseline: str) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Rows of loads, and for each result its tokens a second, what the difference says, and in words."""
    keys = list(dict.fromkeys(cell["key"] for result in results for cell in result["cells"]))
    says = {
        (one.other, found.key): found
        for one in compared(results, baseline)
        for found in one.differences
        if found.metric.name == "output_token_throughput"
    }
    made = []
    for key in keys:
        row = []
        for result in results:
            cell = next((one for one in result["cells"] if one["key"] == key), None)
            found = says.get((result["name"], key))
            words = f"{found.share:+.1%}, {found.says}" if found else ""
            row.append((shown(cell, "output_token_throughput", 1) if cell else "-", found.says if found else "", words))
        made.append((key, row))
    return made


def rows_of(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a result was measured on, as names and words; a question mark for what was not told."""
    serving, sparks = result["serving"] or {}, result["cluster"]["sparks"]
    image = serving.get("image") or {}
    rows: list[tuple[str, Any]] = [
        ("measured", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(result["at"]))),
        ("model", _model(result)),
        ("commit", result["model"]["commit"]),
        ("endpoint", result["endpoint"]),
        ("image", image.get("base") or image.get("name")),
        ("image digest", image.get("base_digest") or image.get("digest")),
        ("engine", serving.get("engine")),
        ("flags", " ".join(serving.get("flags") or [])),
        ("YAML", serving.get("yaml")),
        ("NCCL", serving.get("nccl")),
        ("transports", _each((rank["host"], rank["transport"]) for rank in serving.get("ranks") or [])),
        ("Sparks", result["cluster"]["shape"]),
        ("kernel", _each((one["name"], one["kernel"]) for one in sparks)),
        ("driver", _each((one["name"], one["driver"]) for one in sparks)),
        ("firmware", _each((one["name"], one["firmware"]) for one in sparks)),
        ("MTU", _each((one["name"], _mtu(one)) for one in sparks)),
        *(
            (f"{name} before and after", _before_and_after(result, key, unit))
            for name, key, unit in (
                ("temperature", "temperature_c", "°C"),
                ("power", "power_w", "W"),
                ("clock", "clock_mhz", "MHz"),
                ("memory available", "memory_available_mib", "MiB"),
            )
        ),
        ("client", f"{result['client']['name']} {result['client']['version']}"),
        ("seed", str(result["seed"])),
    ]
    return [(name, str(value) if value else "?") for name, value in rows]


def _each(pairs: Any) -> str:
    """One value where all have the same, else each with its name."""
    found = [(str(name), str(value) if value else "?") for name, value in pairs]
    if len({value for _name, value in found}) == 1:
        return "" if found[0][1] == "?" else found[0][1]
    return ", ".join(f"{name}: {value}" for name, value in found)


def _mtu(spark: Mapping[str, Any]) -> str:
    return " and ".join(
        sorted({str(link["mtu"]) for link in spark["links"] if link["mtu"] and link["state"] != "down"})
    )


def _before_and_after(result: Mapping[str, Any], key: str, unit: str) -> str:
    after = {one["name"]: one for one in (result["after"] or {"sparks": []})["sparks"]}
    words = [
        f"{one['name']}: {_amount(one[key], unit)} - {_amount(after.get(one['name'], {}).get(key), unit)}"
        for one in result["before"]["sparks"]
        if one[key] is not None
    ]
    return ", ".join(words)


def _amount(value: float | None, unit: str) -> str:
    return "?" if value is None else f"{value:,.0f} {unit}"


@lru_cache(maxsize=1)
def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
