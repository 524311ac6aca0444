# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the models that are reported on; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.choice import ChoiceError, choose, questions
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "models": {"type": "dict", "default": {}},
        "only": {"type": "list", "elements": "str", "default": []},
        "also": {"type": "list", "elements": "str", "default": []},
        "revisions": {"type": "dict", "default": {}},
    }
    ERRORS = (catalogue.CatalogueError, ChoiceError)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the chosen entries, and what the hub is to be asked."""
        entries = choose(catalogue.load(asked["models"]), asked["only"], asked["also"])
        wanted = questions(entries, asked["revisions"])
        return {
            "entries": entries,
            "asked": wanted,
            "repos": [one["repo"] for one in wanted],
            "_ansible_verbose_override": True,  # the whole catalogue, which nobody wants to read at -v
        }
