# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A question is one remote call, and a dry run asks it too."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action import engine_question
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.contract import CHAT, COMPLETION

ANSWER = {"choices": [{"text": " Jane"}], "usage": {"completion_tokens": 1}}


def ask(monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], path: str) -> tuple[dict[str, Any], list[Any]]:
    """Run the plugin in check mode over a uri that says this."""
    calls: list[Any] = []
    plugin = engine_question.ActionModule.__new__(engine_question.ActionModule)
    plugin._task = SimpleNamespace(check_mode=True, async_val=0, diff=False)
    monkeypatch.setattr(engine_question.ActionBase, "run", lambda *_about: {})
    asked = {"address": "127.0.0.1:8355", "model": "tiny", "path": path, "timeout": 5}
    monkeypatch.setattr(plugin, "validate_argument_spec", lambda **_spec: (None, asked), raising=False)

    def execute(module: str, module_args: dict[str, Any], **_options: Any) -> dict[str, Any]:
        calls.append((module, plugin._task.check_mode, module_args))
        return said

    monkeypatch.setattr(plugin, "_execute_module", execute, raising=False)
    return plugin.run(task_vars={"inventory_hostname": "spark1"}), calls


@pytest.mark.parametrize(("path", "content"), [(CHAT, "messages"), (COMPLETION, "prompt")])
def test_one_request_without_a_proxy(monkeypatch: pytest.MonkeyPatch, path: str, content: str) -> None:
    found, calls = ask(monkeypatch, {"json": ANSWER, "status": 200}, path)
    assert found == {"changed": False, "answer": ANSWER}
    ((module, check_mode, request),) = calls
    assert (module, check_mode, request["use_proxy"]) == ("ansible.legacy.uri", False, False)
    assert request["url"] == f"http://127.0.0.1:8355{path}"
    assert (request["body"]["model"], content in request["body"]) == ("tiny", True)


def test_no_answer_names_the_host_and_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _calls = ask(monkeypatch, {"failed": True, "msg": "Connection refused"}, CHAT)
    assert found["failed"]
    assert found["msg"] == (
        "spark1 did not answer the question at http://127.0.0.1:8355/v1/chat/completions: Connection refused"
    )
