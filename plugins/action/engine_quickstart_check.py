# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that NVIDIA's example programs generate a text; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trial import FOLDER
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate import picture, quickstart
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate.trial import (
    TrialAction,
    TrialFailedError,
    last_words,
)


class ActionModule(TrialAction):
    """Runs on the controller."""

    WHAT = "quickstart"
    SPEC: ClassVar[dict[str, Any]] = {
        "image": {"type": "str", "required": True},
        "kind": {
            "type": "str",
            "choices": [quickstart.TEXT, quickstart.VISION, quickstart.LORA],
            "default": quickstart.TEXT,
        },
        "model": {"type": "str", "required": True},
        "hub": {"type": "path", "required": True},
        "arguments": {"type": "list", "elements": "str", "default": []},
        "environment": {"type": "dict", "default": {}},
        "vocabularies": {"type": "path"},
        "max_tokens": {"type": "int", "default": 64},
        "seconds": {"type": "int", "default": 3600},
        "beside_serving": {"type": "bool", "default": False},
        "reserve_mib": {"type": "int", "default": 24576},
        "meminfo": {"type": "path", "default": "/proc/meminfo"},
    }

    def validate(self, asked: dict[str, Any], host: str) -> dict[str, Any]:
        """Return the text."""
        passed_on = ("model", "hub", "environment", "vocabularies", "beside_serving", "reserve_mib", "meminfo")
        command = quickstart.command(asked["kind"], FOLDER, asked["max_tokens"], asked["arguments"])
        self.found.update(model=asked["model"], command=command)
        seen = self.tried(
            asked,
            command=command,
            files={} if asked["kind"] == quickstart.TEXT else {quickstart.PICTURE: picture.png()},
            **{name: asked[name] for name in passed_on if asked[name] is not None},
        )
        said = f"{host}: {command[1]} with {asked['model']}"
        if seen["status"]:
            raise TrialFailedError(f"{said} ended with status {seen['status']}. {last_words(seen['lines'])}")
        texts = quickstart.generated(seen["lines"])
        if not any(text.strip() for text in texts):
            raise TrialFailedError(f"{said} generated no text. {last_words(seen['lines'])}")
        return {"text": next(text for text in texts if text.strip())}
