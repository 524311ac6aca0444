# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report what serves, on the controller; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "plan": {"type": "dict", "required": True},
        "state": {"type": "dict", "required": True},
        "answer": {"type": "dict", "required": True},
        "picture": {"type": "str", "default": ""},
        "ended": {"type": "dict", "default": {}},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the report. :raises PlanError: where the answer has no token."""
        plan, state = asked["plan"], asked["state"]
        tokens = (asked["answer"].get("usage") or {}).get("completion_tokens") or 0
        if not tokens:
            raise PlanError(
                f"{plan['cluster']['nodes'][0]['name']} answered at {plan['endpoint']} without a generated token: "
                f"{asked['answer']}. Its log says more, see docs/faults.md."
            )
        return {
            "instance": plan["instance"],
            "endpoint": plan["endpoint"],
            "model": state["model"],
            "image": plan["image"]["name"],
            "image_id": plan["image"]["id"],
            "base_image": plan["base_digest"] or plan["base_image"],
            "ranks": state.get("ranks", {}),
            "load_s": state["load_s"],
            "kv_tokens": state.get("kv_tokens", 0),
            "speculative": plan.get("speculative") or {},
            "answer": text_of(asked["answer"]),
            "picture": asked["picture"],
            "exposed": plan["exposed"],
            **({"requests_cut": asked["ended"]["requests_cut"]} if asked.get("ended") else {}),
        }


def text_of(answer: dict[str, Any]) -> str:
    """The text of an answer: of a chat, of the thoughts of one that has got no further, or of a completion.

    >>> text_of({"choices": [{"message": {"content": None, "reasoning_content": "Let me see"}}]})
    'Let me see'
    >>> text_of({"choices": [{"text": " Jane"}]}), text_of({})
    (' Jane', '')
    """
    choice: dict[str, Any] = next(iter(answer.get("choices") or []), {})
    said = choice.get("message") or {}
    texts = [said.get("content"), said.get("reasoning_content"), said.get("reasoning"), choice.get("text")]
    return next((text for text in texts if text), "")
