# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send a question to an engine; the module of this name documents it."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.contract import CHAT, COMPLETION

QUESTION = "Who are you? Answer in one sentence."
BEGINNING = "My name is"


def body_of(model: str, path: str) -> dict[str, Any]:
    """The request. A model that reasons needs tokens for that, too; one without a chat template completes a text.

    >>> body_of("tiny", "/v1/completions")
    {'model': 'tiny', 'prompt': 'My name is', 'max_tokens': 32}
    """
    if path == COMPLETION:
        return {"model": model, "prompt": BEGINNING, "max_tokens": 32}
    return {"model": model, "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 256}


class ActionModule(ActionBase):
    """Runs on the controller, and has the module uri send the request from the host."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer."""
        super().run(tmp, task_vars)
        _validated, asked = self.validate_argument_spec(
            argument_spec={
                "address": {"type": "str", "required": True},
                "model": {"type": "str", "required": True},
                "path": {"type": "str", "choices": [CHAT, COMPLETION], "default": CHAT},
                "timeout": {"type": "int", "default": 300},
            }
        )
        url = f"http://{asked['address']}{asked['path']}"
        request = {
            "url": url,
            "method": "POST",
            "body_format": "json",
            "body": body_of(asked["model"], asked["path"]),
            "use_proxy": False,
            "timeout": asked["timeout"],
        }
        # A question changes nothing, so that a dry run asks, too; uri itself does nothing then.
        self._task.check_mode = False
        # The module, since the action plugin of that name makes four remote calls where this is one.
        said = self._execute_module("ansible.legacy.uri", module_args=request, task_vars=task_vars)
        if said.get("failed"):
            host = (task_vars or {})["inventory_hostname"]
            return {**said, "msg": f"{host} did not answer the question at {url}: {said['msg']}"}
        return {"changed": False, "answer": said.get("json") or {}}
