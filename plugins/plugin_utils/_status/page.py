# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A status as a page of its own: no script, nothing from elsewhere, and a browser reads it anew each half minute.

This plugin util is private to the collection.
"""

from __future__ import annotations

from html import escape
from typing import Any, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status import judge, table

WIDTH = 180  #: characters of a line; a narrow window scrolls
AGAIN_S = 30
COLOURS = {judge.SERIOUS: "#b3261e", judge.WARNING: "#8a5300", table.GOOD: "#1b6e3c"}


def html(document: Mapping[str, Any]) -> str:
    """The page. :param document: as the playbook writes it."""
    title = escape(table.summary(document).text)
    lines = "\n".join(_line(line) for line in table.lines(document, WIDTH))
    colours = "".join(f".{name} {{ color: {colour}; font-weight: bold }}\n" for name, colour in COLOURS.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="{AGAIN_S}">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ margin: 1rem; background: #fff; color: #1c1b1f }}
pre {{ font: 0.85rem/1.4 ui-monospace, monospace; overflow-x: auto }}
{colours}</style>
</head>
<body>
<pre>
{lines}
</pre>
</body>
</html>
"""


def _line(line: table.Line) -> str:
    shown = escape(line.text)
    return f'<span class="{line.severity}">{shown}</span>' if line.severity in COLOURS else shown
