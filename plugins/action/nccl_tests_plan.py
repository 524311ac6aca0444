# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a measurement of NCCL, on the controller; the module of this name documents it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._nccl import plan as planning
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

#: the names of all changes that tasks of the role nccl_tests make; LOAD is made by the role peer_copy
CHANGES = (planning.PULL, planning.BUILD)


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "fabric": {"type": "dict", "required": True},
        "found": {"type": "dict", "required": True},
        "base_image": {"type": "str", "required": True},
        "context": {"type": "list", "elements": "path", "required": True},
        "repository": {"type": "str", "required": True},
        "commit": {"type": "str", "required": True},
        "operations": {"type": "list", "elements": "str", "required": True},
        "min_bytes": {"type": "int", "default": 8},
        "max_bytes": {"type": "int", "default": 4 << 30},
        "factor": {"type": "int", "default": 2},
        "iterations": {"type": "int", "default": 20},
        "warmup": {"type": "int", "default": 5},
        "limit_s": {"type": "int", "default": 600},
        "environment": {"type": "dict", "default": {}},
        "ssh_port": {"type": "int", "default": 2234},
        "memlock": {"type": "int", "default": -1},
        "beside_serving": {"type": "bool", "default": False},
        "base_id": {"type": "str", "default": ""},
        "public_keys": {"type": "dict", "default": {}},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan of all members."""
        asked = json.loads(json.dumps(asked))  # plain values
        missing = [name for name in asked["members"] if "docker" not in (asked["found"].get(name) or {})]
        if missing:
            raise PlanError(f"nothing is known of {', '.join(missing)}: read them first. Nothing was changed.")
        context: dict[str, str] = {}
        for folder in asked.pop("context"):
            context.update(context_in(Path(folder)))
        try:
            return planning.planned(planning.Asked(**asked, context=context))
        except planning.ServeError as error:
            raise PlanError(f"NCCL cannot be measured as asked: {error}. Nothing was changed.") from error


def context_in(folder: Path) -> dict[str, str]:
    """The text of the files that the image is built from, by their path below the folder; links are followed."""
    paths = sorted([*folder.glob("Dockerfile"), *folder.rglob("*.py")])
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in paths}
