# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/troubleshooting.md, of the doctor's checks and of the symptoms that others tell.

python -m tests.troubleshooting > docs/troubleshooting.md     # or make troubleshooting
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PLACE = Path(__file__).parents[1] / "plugins" / "plugin_utils" / "_doctor"
CLASSES = {"mend": "can be mended here", "decide": "you decide", "hands": "needs hands"}
HEAD = """\
# What goes wrong on Sparks, and what to do

This page is made of [checks.yml](../plugins/plugin_utils/_doctor/checks.yml) and
[symptoms.yml](../plugins/plugin_utils/_doctor/symptoms.yml) by `make troubleshooting`: change those.
[doctor.md](doctor.md) says how `doctor.yml` makes the checks and what it shows; below, first all {count} checks, then
the symptoms that others tell, and which check looks for each.

*blocked*, *slow* and *told*: what a check means for a model that is to be served now, by [preflight.yml](preflight.md).
*hardware*: what no virtual Spark can have, so that the check was tried on made-up facts alone.
"""


def data(name: str) -> Any:
    return yaml.safe_load((PLACE / name).read_text(encoding="utf-8"))


def cell(text: str) -> str:
    """A text for a table's cell.

    >>> cell("a | b\\n  c")
    'a \\\\| b c'
    """
    return " ".join(str(text).split()).replace("|", "\\|")


def row(name: str, check: dict[str, Any]) -> str:
    """A check as a row."""
    reads = check.get("reads") or f"the logs: `{check['pattern']}`"
    preflight = f", {check['preflight']}" if check.get("preflight") else ""
    kind = f"{CLASSES[check['class']]}; {check['severity']}{preflight}"
    source = ", ".join(check["source"]) + (" (hardware)" if check["tried"] == "hardware" else "")
    cells = (f"`{name}`: {check['title']}", reads, check["why"], check["mend"], kind, source)
    return "| " + " | ".join(map(cell, cells)) + " |"


def sections(text: str) -> dict[str, str]:
    """The first check of each section of the file, by the section's heading.

    >>> sections("# --- memory and disk ---\\nmemory_low:\\n  title: x\\n")
    {'memory_low': 'Memory and disk'}
    """
    found, heading = {}, ""
    for line in text.splitlines():
        if line.startswith("# --- "):
            heading = line.strip("#- ")
        elif heading and line.endswith(":") and line[0].isalpha():
            found[line[:-1]] = heading[0].upper() + heading[1:]
            heading = ""
    return found


def page() -> str:
    """The page."""
    checks, symptoms = data("checks.yml"), data("symptoms.yml")
    headings = sections((PLACE / "checks.yml").read_text(encoding="utf-8"))
    lines = [HEAD.format(count=len(checks))]
    for name, check in checks.items():
        if name in headings:
            lines += [
                *([""] if len(lines) > 1 else []),
                f"## {headings[name]}",
                "| check | reads | why it matters | mend | class | from |",
                "| --- | --- | --- | --- | --- | --- |",
            ]
        lines.append(row(name, check))
    lines += ["", "## From a symptom to a check"]
    for group in symptoms:
        lines += [
            "",
            f"**{group['from'][0].upper()}{group['from'][1:]}**",
            "",
            "| symptom | looked for by |",
            "| --- | --- |",
        ]
        for one in group["rows"]:
            told = ", ".join(f"`{name}`" for name in one.get("checks") or [])
            lines.append(f"| {cell(one['symptom'])} | {told or 'no check: ' + cell(one['answer'])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
