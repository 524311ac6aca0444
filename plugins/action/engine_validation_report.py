# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the report of a validation, on the controller; the module of this name documents it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate import report
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "path": {"type": "path", "required": True},
        "facts": {"type": "dict", "required": True},
        "asked": {"type": "list", "elements": "str", "choices": list(report.PARTS), "required": True},
        "parts": {"type": "dict", "required": True},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Write the report, beside whatever other reports there are, and return its text."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        found = report.report(asked["facts"], asked["asked"], asked["parts"], at)
        text, path = report.text(found), Path(asked["path"])
        if self._task.check_mode:
            return {"text": text, "path": ""}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            path.with_suffix(".txt").write_text("".join(f"{line}\n" for line in text), encoding="utf-8")
        except OSError as error:
            raise PlanError(
                f"the report cannot be written to {path} on the controller: {error.strerror}; name another place with "
                "-e validate_report="
            ) from error
        return {"text": text, "path": str(path)}
