# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A measurement of NCCL as a page: bus bandwidth and latency by size. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.document import VIRTUAL
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.report import COLOURS
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._nccl import report
from jinja2 import Environment, StrictUndefined

TEMPLATE = Path(__file__).with_name("page.html.j2")
#: title, the figure's name, the axis, and whether it is logarithmic
PLOTS = (
    ("busbw", "Bus bandwidth by size", "busbw", "GB/s", "linear"),
    ("latency", "Time by size", "time_us", "µs", "log"),
)


def size_text(size: int) -> str:
    """A number of bytes as people write it.

    >>> size_text(8), size_text(1 << 20), size_text(4 << 30), size_text(1000)
    ('8 B', '1 MiB', '4 GiB', '1000 B')
    """
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift and not size % (1 << shift):
            return f"{size >> shift} {unit}"
    return f"{size} B"


def plots(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The plots as plotly.js has them: ``id``, ``title``, ``data`` and ``layout``."""
    return [_plot(found, *about) for about in PLOTS]


def _plot(found: Mapping[str, Any], name: str, title: str, figure: str, unit: str, scale: str) -> dict[str, Any]:
    """One line an operation, out of place."""
    data = []
    for number, (operation, one) in enumerate(found["operations"].items()):
        rows = [row for row in one["rows"] if row["out_of_place"][figure] > 0 or scale == "linear"]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": operation,
                "x": [row["size"] for row in rows],
                "y": [row["out_of_place"][figure] for row in rows],
                "text": [size_text(row["size"]) for row in rows],
                "hovertemplate": f"%{{text}}: %{{y}} {unit}<extra>%{{fullData.name}}</extra>",
                "line": {"color": COLOURS[number % len(COLOURS)]},
            }
        )
    if name == "busbw":
        data += [_wanted(found, number, one) for number, one in enumerate(found["summary"])]
    sizes = sorted({row["size"] for one in found["operations"].values() for row in one["rows"]})
    ticks = sizes[:: max(1, len(sizes) // 8)]
    layout = {
        "xaxis": {
            "title": {"text": "size"},
            "type": "log",
            "tickvals": ticks,
            "ticktext": [size_text(size) for size in ticks],
        },
        "yaxis": {"title": {"text": unit}, "type": scale, **({"rangemode": "tozero"} if scale == "linear" else {})},
    }
    return {"id": name, "title": title, "data": data, "layout": layout}


def _wanted(found: Mapping[str, Any], number: int, one: Mapping[str, Any]) -> dict[str, Any]:
    """What is wanted of the largest sizes of an operation, as a dotted line over these."""
    sizes = [row["size"] for row in found["operations"][one["operation"]]["rows"][-5:]]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"{one['operation']}, wanted",
        "x": sizes,
        "y": [one["wanted"]] * len(sizes),
        "hovertemplate": "%{y} GB/s<extra>%{fullData.name}</extra>",
        "line": {"color": COLOURS[number % len(COLOURS)], "dash": "dot"},
    }


def page(found: Mapping[str, Any], plotly: str) -> str:
    """One page of HTML that needs nothing from elsewhere. Every value is escaped. :param plotly: plotly.js, whole."""
    drawn = plots(found)
    return str(
        _template().render(
            found=found,
            virtual=VIRTUAL if found["virtual"] else "",
            when=report.when(found),
            plots=drawn,
            size_text=size_text,
            # Within a script's element, nothing ends it.
            drawn=json.dumps(drawn).replace("<", "\\u003c"),
            plotly=plotly.replace("</script", "<\\/script"),
        )
    )


@lru_cache(maxsize=1)
def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
