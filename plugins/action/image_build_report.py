# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report an image that was built from source; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner

TOLD = ("id", "version", "architectures", "without", "engines", "checked", "not_checked")
UNTRIED = "a generated token: name a model of the leader's cache (image_build_model), or serve with the image"


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "plan": {"type": "dict", "required": True},
        "checked": {"type": "dict", "default": {}},
        "tried": {"type": "dict", "default": {}},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what was seen of the image on this host."""
        planned, checked, tried = asked["plan"], asked["checked"], asked["tried"]
        about = {name: checked[name] for name in TOLD} if "id" in checked else {"id": "", "checked": []}
        text = str(tried.get("text") or "")
        leads = bool(about.get("version"))
        seen = [f"a text that {tried['model']} generated"] if text and leads else []
        return {
            **about,
            "image": planned["image"],
            "commit": planned["commit"],
            "archs": planned["archs"],
            "text": text,
            "checked": [*about["checked"], *seen],
            "not_checked": [*about.get("not_checked", []), *([UNTRIED] if leads and not text else [])],
        }
