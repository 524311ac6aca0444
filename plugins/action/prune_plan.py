# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan which models and images are removed from which Spark, and show it; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.utils.display import Display
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._prune import plan as pruning
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "dict", "required": True},
        "free_gb": {"type": "float"},
        "models": {"type": "list", "elements": "str", "default": []},
        "images": {"type": "list", "elements": "str", "default": []},
        "keep": {"type": "list", "elements": "str", "default": []},
        "served": {"type": "dict", "default": {}},
    }
    ERRORS = (pruning.PruneError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what goes from each member, and show it."""
        told = asked["members"]
        missing = [name for name, one in told.items() if "needed" not in (one or {})]
        if missing:
            raise PlanError(f"nothing is known of {', '.join(missing)}: read these Sparks first. Nothing was changed.")
        names = ("free_gb", "models", "images", "keep")
        served = {word: variable for word, variable in asked["served"].items() if word}
        wanted = pruning.Asked(**{name: asked[name] for name in names}, served=served)
        if wanted.free_gb is None and not (wanted.models or wanted.images):
            raise PlanError(
                "Nothing is asked for: say how much is to be free on each Spark (-e prune_free_gb=500), or what is to "
                "go (-e prune_models=openai/gpt-oss-20b, -e prune_images=NAME:TAG). Nothing was changed."
            )
        if wanted.free_gb is not None and wanted.free_gb < 0:
            raise PlanError(f"prune_free_gb is {wanted.free_gb:g}: give 0 or more. Nothing was changed.")
        found = pruning.plan(told, wanted)
        Display().display("\n".join(["", *found.lines]))  # as it is: a result's long lines are folded or quoted
        return {
            "changes": pruning.changes(found),
            "remove": pruning.to_remove(found),
            "lines": found.lines,
            "_ansible_verbose_override": True,  # it is shown already
        }
