# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fail with why a serving does not serve, and what serves now; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import going_back
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "back": {"type": "dict", "required": True},
        "members": {"type": "list", "elements": "str", "required": True},
        "problems": {"type": "list", "elements": "str", "default": []},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Say it. :raises PlanError: always, since the planned serving does not serve."""
        back = asked["back"]
        raise PlanError(f"{back['why']} {going_back.sentence(back, asked['members'], asked['problems'])}")
