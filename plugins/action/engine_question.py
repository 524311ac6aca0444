# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send a question to an engine; the module of this name documents it."""

from __future__ import annotations

import base64
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.contract import CHAT, COMPLETION
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.png import png

QUESTION = "Who are you? Answer in one sentence."
BEGINNING = "My name is"
#: about a picture: its size is one that encoders of patches take, and what is in it has an answer
LOOK = "Which two colours does this picture have, and which of them is on the left? Answer in one sentence."
WIDTH, HEIGHT = 256, 192
LEFT, RIGHT = b"\xd0\x20\x20", b"\x20\x40\xd0"  # red and blue


def picture(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A PNG whose left half is red and whose right half is blue, of less than 1 kB."""
    return png(width, height, lambda x, _y: LEFT if x < width // 2 else RIGHT)


def body_of(model: str, path: str, with_picture: bool = False) -> dict[str, Any]:
    """The request. A model that reasons needs tokens for that, too; one without a chat template completes a text.

    The picture is in the request itself, as a data URL, so that nothing is fetched.

    >>> body_of("tiny", "/v1/completions")
    {'model': 'tiny', 'prompt': 'My name is', 'max_tokens': 32}
    """
    if path == COMPLETION:
        return {"model": model, "prompt": BEGINNING, "max_tokens": 32}
    content: Any = QUESTION
    if with_picture:
        url = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
        content = [{"type": "text", "text": LOOK}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 256}


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
                "picture": {"type": "bool", "default": False},
                "timeout": {"type": "int", "default": 300},
            }
        )
        shown = asked["picture"] and asked["path"] != COMPLETION
        url = f"http://{asked['address']}{asked['path']}"
        request = {
            "url": url,
            "method": "POST",
            "body_format": "json",
            "body": body_of(asked["model"], asked["path"], shown),
            "use_proxy": False,
            "timeout": asked["timeout"],
        }
        # A question changes nothing, so that a dry run asks, too; uri itself does nothing then.
        self._task.check_mode = False
        # The module, since the action plugin of that name makes four remote calls where this is one.
        said = self._execute_module("ansible.legacy.uri", module_args=request, task_vars=task_vars)
        if said.get("failed"):
            host = (task_vars or {})["inventory_hostname"]
            return {**said, "msg": f"{host} did not answer the question at {url}: {why(said, shown)}"}
        size = f"{WIDTH}x{HEIGHT}" if shown else ""
        return {"changed": False, "answer": said.get("json") or {}, "picture": size}


def why(said: dict[str, Any], shown: bool) -> str:
    """What went wrong, in the server's own words where it said some, with the mend where it refused the picture."""
    answer = said.get("json")
    words = str(answer.get("message") or "") if isinstance(answer, dict) else ""
    text = ": ".join(filter(None, [str(said["msg"]), words]))
    refused = shown and said.get("status") in (400, 422)
    mend = (
        "the question shows a picture: where the model is to be served for text alone, set trtllm_serve_vision: never"
    )
    return f"{text} ({mend})" if refused else text
