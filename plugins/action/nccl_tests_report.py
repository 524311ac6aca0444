# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge a measurement of NCCL and write its report, on the controller; the module of this name documents it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils import written
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._nccl import judge, page
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._nccl import report as reporting
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

PLOTLY = "lib/python3*/site-packages/plotly/package_data/plotly.min.js"
VARIABLE = "nccl_tests_report_path"


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "plan": {"type": "dict", "required": True},
        "measured": {"type": "dict", "required": True},
        "min_busbw": {"type": "float", "default": 0.0},
        "ring": {"type": "bool", "default": False},
        "require_rdma": {"type": "bool", "default": True},
        "stale": {"type": "dict", "default": {}},
        "path": {"type": "str", "default": ""},
        "plotly": {"type": "str", "default": ""},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Judge, write, and fail where something is wrong: the report is there all the same."""
        plan = asked["plan"]
        how = judge.Asked(
            members=plan["nodes"],
            links={name: [judge.Link(**link) for link in links] for name, links in plan["links"].items()},
            ring=asked["ring"],
            min_busbw=asked["min_busbw"],
            require_rdma=asked["require_rdma"],
        )
        found = reporting.report(asked["measured"], how, plan, asked["stale"], time.time())
        files = self._written(asked, found) if asked["path"] and not self._task.check_mode else []
        lines = reporting.text(found)
        told = {
            **{name: found[name] for name in ("outcome", "problems", "doubts", "summary", "networks", "virtual")},
            "files": files,
            "text": lines,
        }
        if not found["problems"]:
            return told
        where = f" All of it: {files[0]}." if files else ""
        said = ". ".join(one["text"] for one in found["problems"])
        return {**told, "failed": True, "msg": f"NCCL is not sound ({found['outcome']}): {said}.{where}"}

    def _written(self, asked: dict[str, Any], found: dict[str, Any]) -> list[str]:
        """The JSON file, and the page beside it where there is something to draw it by."""
        path = Path(asked["path"])
        files = [written.write(path, json.dumps(found, indent=2) + "\n", VARIABLE, 0o644)]
        if asked["plotly"]:
            script = next(iter(sorted(Path(asked["plotly"]).expanduser().glob(PLOTLY))), None)
            if script is None:
                raise PlanError(
                    f"{asked['plotly']} has no plotly.js, which the page is drawn by: leave nccl_tests_plotly out, or "
                    f"run playbooks/nccl.yml, which installs it. The figures are in {files[0]}."
                )
            html = page.page(found, script.read_text(encoding="utf-8"))
            files.append(written.write(path.with_suffix(".html"), html, VARIABLE, 0o644))
        return files
