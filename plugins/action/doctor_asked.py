# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check which findings are to be mended, on the controller; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor import checks
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "treat": {"type": "list", "elements": "str", "default": []},
        "only": {"type": "list", "elements": "str", "default": []},
    }
    ERRORS = (checks.CheckError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the names, each once."""
        unknown = [name for name in asked["only"] if name not in checks.load()]
        if unknown:
            raise PlanError(
                f"doctor_only names {', '.join(unknown)}, and there is no such check: docs/troubleshooting.md has all. "
                "Nothing was changed."
            )
        return {"treat": checks.asked(asked["treat"]), "treatable": checks.treatable()}
