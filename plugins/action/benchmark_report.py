# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show results of benchmarks beside each other; the module of this name documents it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError, replace_text
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import compare, document, report
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

FILES = ("benchmark.html", "benchmark.json", "benchmark.csv", "benchmark.md")
PLOTLY = "lib/python3*/site-packages/plotly/package_data/plotly.min.js"
NEEDED = ("name", "virtual", "cells", "runs", "model", "cluster", "before")


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "directory": {"type": "path", "required": True},
        "results": {"type": "list", "elements": "str", "default": []},
        "baseline": {"type": "str", "default": ""},
        "plotly": {"type": "path", "required": True},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Write the files. Return what differs."""
        folder = Path.cwd() / Path(asked["directory"]).expanduser()
        results = _chosen(_read(folder), asked["results"], folder)
        baseline = _baseline(results, asked["baseline"])
        now = time.time()
        when = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(now))
        lines = _lines(results, baseline)
        self._display.display("\n".join(lines))
        files = []
        if not self._task.check_mode:
            texts = (
                report.page(results, baseline, when, _plotly(Path(asked["plotly"]))),
                json.dumps(report.document(results, baseline, now), indent=2) + "\n",
                report.table(results),
                report.markdown(results, baseline, when),
            )
            files = _write(folder, texts)
        return {
            "results": [one["name"] for one in results],
            "baseline": baseline,
            "lines": lines,
            "files": files,
            "_ansible_verbose_override": True,  # it is shown already
        }


def _read(folder: Path) -> list[dict[str, Any]]:
    """The results of a directory, the oldest first."""
    found = []
    for path in sorted(folder.glob("*.json")):
        if path.name in FILES:
            continue
        try:
            one = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise PlanError(
                f"{path} on the controller cannot be read ({error}): take it away. Nothing was written."
            ) from error
        if not isinstance(one, dict) or one.get("schema") != document.SCHEMA or not set(NEEDED) <= set(one):
            continue  # somebody else's
        found.append(one)
    if not found:
        raise PlanError(
            f"{folder} on the controller has no result: run benchmark.yml first, or name the directory "
            "(benchmark_out). Nothing was written."
        )
    return sorted(found, key=lambda one: one["at"])


def _chosen(every: list[dict[str, Any]], parts: list[str], folder: Path) -> list[dict[str, Any]]:
    """Those whose names have one of the parts. :raises PlanError: for none, and where not all are of one kind."""
    some = [one for one in every if not parts or any(part in one["name"] for part in parts)]
    if not some:
        names = ", ".join(one["name"] for one in every)
        raise PlanError(f"benchmark_results chooses none of {names} in {folder}. Nothing was written.")
    virtual = [one["name"] for one in some if one["virtual"]]
    real = [one["name"] for one in some if not one["virtual"]]
    if virtual and real:
        raise PlanError(
            f"{', '.join(virtual)}: measured on virtual Sparks, and {', '.join(real)}: not. The former say nothing "
            "about a DGX Spark, and are not compared with the latter: choose results of one kind (benchmark_results). "
            "Nothing was written."
        )
    return some


def _baseline(results: list[dict[str, Any]], asked: str) -> str:
    names = [one["name"] for one in results]
    if asked and asked not in names:
        raise PlanError(
            f"benchmark_baseline is {asked!r}, and the results are {', '.join(names)}. Nothing was written."
        )
    return asked or names[0]


def _lines(results: list[dict[str, Any]], baseline: str) -> list[str]:
    made = []
    for one in results:
        made += [one["name"], *document.table(one), ""]
    for comparison in report.compared(results, baseline):
        made.append(f"{comparison.other} against {comparison.one}")
        lines = [comparison.problem] if comparison.problem else compare.told(comparison.differences)
        made += [f"  {line}" for line in lines]
        made += [f"  also not the same: {line[:300]}" for line in comparison.provenance]
    return made


def _plotly(environment: Path) -> str:
    path = next(iter(sorted(environment.expanduser().glob(PLOTLY))), None)
    if path is None:
        raise PlanError(
            f"{environment} has no plotly.js, which the page is drawn by: run benchmark_report.yml, which installs it. "
            "Nothing was written."
        )
    return path.read_text(encoding="utf-8")


def _write(folder: Path, texts: tuple[str, ...]) -> list[str]:
    try:
        for name, text in zip(FILES, texts):
            replace_text(folder / name, text, mode=0o644)
    except (OSError, FileError) as error:
        raise PlanError(f"{told(error)}. Nothing else was changed.") from error
    return [str(folder / name) for name in FILES]
