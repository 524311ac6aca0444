# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of an engine's role: that of the serving, and the engine's version.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner

FACTS = (
    *("instance", "endpoint", "model", "image", "image_id", "base_image", "ranks", "load_s", "kv_tokens"),
    *("speculative", "answer", "picture", "exposed"),
)


class EngineReport(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "plan": {"type": "dict", "required": True},
        "report": {"type": "dict", "required": True},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the facts of the serving's report, and the engine's version."""
        return {**{name: asked["report"][name] for name in FACTS}, "version": asked["plan"]["engine"]["version"]}
