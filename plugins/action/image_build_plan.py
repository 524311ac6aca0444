# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the build of an image from source; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import layout
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._build.plan import (
    CHANGES,
    DOCKER_GB,
    BuildError,
    Host,
    Wanted,
    plan,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner

__all__ = ["CHANGES", "ActionModule"]


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "dict", "required": True},
        "commit": {"type": "str", "required": True},
        "url": {"type": "str", "required": True},
        "archs": {"type": "str", "default": "120-real"},
        "target": {"type": "str", "default": "release_build"},
        "make": {"type": "list", "elements": "str", "default": []},
        "dir": {"type": "path", "default": layout.folder(layout.IMAGE)},
        "jobs": {"type": "int", "default": 0},
        "job_mib": {"type": "int", "default": 6144},
        "floor_mib": {"type": "int", "default": 16384},
        "docker_gb": {"type": "float", "default": DOCKER_GB},
        "source_gb": {"type": "float", "default": 20},
        "image_gb": {"type": "float", "default": 50},
        "reserve_gb": {"type": "float", "default": 20},
        "spread": {"type": "bool", "default": True},
        "model": {"type": "str", "default": ""},
    }
    ERRORS = (BuildError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan of all members, to every member."""
        hosts = [Host(name, found) for name, found in asked["members"].items()]
        others = ("members", "dir")
        wanted = Wanted(**{name: value for name, value in asked.items() if name not in others})
        planned = plan(wanted, hosts, asked["dir"])
        warnings = planned.pop("warnings")
        shown = warnings and task_vars["inventory_hostname"] == hosts[0].name
        return {**planned, **({"warnings": warnings} if shown else {})}
