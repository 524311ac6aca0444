# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan how models come to every Spark; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.plan import (
    CHANGES,
    Asked,
    ModelPlanError,
    brings,
    moves,
    plan,
    receivers,
    room,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner

__all__ = ["CHANGES", "ActionModule"]
OWN = ("repo_dir", "snapshot", "files", "bytes", "complete", "problems")


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "dict", "required": True},
        "read": {"type": "dict", "default": {}},
        "model": {"type": "dict", "required": True},
        "source": {"type": "str", "choices": ["hub", "directory"], "default": "hub"},
        "place": {"type": "str", "required": True},
        "endpoint": {"type": "str", "default": ""},
        "reserve_gb": {"type": "int", "default": 20},
        "tool_version": {"type": "str", "required": True},
    }
    ERRORS = (ModelPlanError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the changes of all members, and what is known of this host's models."""
        found, described = {**asked["members"]}, asked["model"]
        found.update({host: again for host, again in asked["read"].items() if "snapshot" in again})
        beside = described.get("beside", [])
        wanted = Asked(
            members=list(found),
            model=described["model"],
            source=asked["source"],
            place=asked["place"],
            linkable=described["linkable"],
            reserve_gb=asked["reserve_gb"],
            tool_version=asked["tool_version"],
            beside=[one["model"] for one in beside],
            hub=asked["endpoint"] or asked["place"],
        )
        host = task_vars["inventory_hostname"]
        return {
            "changes": plan(wanted, found),
            "receivers": receivers(wanted, found),
            "brings": brings(wanted, found),
            "room": room(wanted, found),
            "moves": moves(wanted, found),
            **facts(described, found, host),
            "beside": [
                facts(one, {name: its["beside"][index] for name, its in found.items()}, host)
                for index, one in enumerate(beside)
            ],
        }


def facts(described: dict[str, Any], found: dict[str, Any], host: str) -> dict[str, Any]:
    """Return what is known of one model, and of what this host has of it."""
    model = described["model"]
    return {
        "repo_dirs": {name: one["repo_dir"] for name, one in found.items()},
        "repo": model["repo"],
        "commit": model["commit"],
        "revision": model["revision"],
        "config": described["config"],
        "tensors": described.get("tensors", []),
        "tensors_problem": described.get("tensors_problem", ""),
        **{name: found[host][name] for name in OWN},
    }
