# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record the state of the Sparks after a benchmark; the module of this name documents it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError, replace_text
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told as told_of
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import provenance
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status.document import document as status_of
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

#: of a result, what is read
KEYS = ("read", "unread", "at", "unreachable", "msg", "module_stderr")


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "file": {"type": "path", "required": True},
        "members": {"type": "list", "elements": "str", "required": True},
        "status": {"type": "str", "required": True},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Write the state into the result. Return what happened to the serving meanwhile."""
        path = Path(asked["file"])
        told = {}
        for host in asked["members"]:
            status = (task_vars["hostvars"].get(host) or {}).get(asked["status"]) or {}
            told[host] = {key: status[key] for key in KEYS if key in status}
        after = provenance.state(status_of(told, time.time()))
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            name = (found["serving"] or {}).get("name", "")
            changed = provenance.changed(found["before"], after, name)
            found = {**found, "after": after, "meanwhile": changed, "good": found["good"] and not changed}
            if not self._task.check_mode:
                replace_text(path, json.dumps(found, indent=2) + "\n", mode=0o644)
        except (OSError, FileError, ValueError) as error:
            raise PlanError(f"{told_of(error)}: the state after the benchmark is not in {path}.") from error
        return {"good": found["good"], "meanwhile": changed}
