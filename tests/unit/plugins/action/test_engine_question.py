# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A question is one remote call, and a dry run asks it too."""

from __future__ import annotations

import base64
import struct
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action import engine_question
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.contract import CHAT, COMPLETION

ANSWER = {"choices": [{"text": " Jane"}], "usage": {"completion_tokens": 1}}


def ask(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], path: str, picture: bool = False
) -> tuple[dict[str, Any], list[Any]]:
    """Run the plugin in check mode over a uri that says this."""
    calls: list[Any] = []
    plugin = engine_question.ActionModule.__new__(engine_question.ActionModule)
    plugin._task = SimpleNamespace(check_mode=True, async_val=0, diff=False)
    monkeypatch.setattr(engine_question.ActionBase, "run", lambda *_about: {})
    asked = {"address": "127.0.0.1:8355", "model": "tiny", "path": path, "timeout": 5, "picture": picture}
    monkeypatch.setattr(plugin, "validate_argument_spec", lambda **_spec: (None, asked), raising=False)

    def execute(module: str, module_args: dict[str, Any], **_options: Any) -> dict[str, Any]:
        calls.append((module, plugin._task.check_mode, module_args))
        return said

    monkeypatch.setattr(plugin, "_execute_module", execute, raising=False)
    return plugin.run(task_vars={"inventory_hostname": "spark1"}), calls


@pytest.mark.parametrize(("path", "content"), [(CHAT, "messages"), (COMPLETION, "prompt")])
def test_one_request_without_a_proxy(monkeypatch: pytest.MonkeyPatch, path: str, content: str) -> None:
    found, calls = ask(monkeypatch, {"json": ANSWER, "status": 200}, path)
    assert found == {"changed": False, "answer": ANSWER, "picture": ""}
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


def test_a_model_that_sees_is_shown_a_picture_that_needs_no_fetching(monkeypatch: pytest.MonkeyPatch) -> None:
    found, calls = ask(monkeypatch, {"json": ANSWER, "status": 200}, CHAT, picture=True)
    assert found["picture"] == "256x192"
    (message,) = calls[0][2]["body"]["messages"]
    text, shown = message["content"]
    assert (text["type"], shown["type"]) == ("text", "image_url")
    head, _comma, data = shown["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data, validate=True) == engine_question.picture()


def test_a_model_that_completes_texts_is_shown_none(monkeypatch: pytest.MonkeyPatch) -> None:
    found, calls = ask(monkeypatch, {"json": ANSWER, "status": 200}, COMPLETION, picture=True)
    assert (found["picture"], "prompt" in calls[0][2]["body"]) == ("", True)


def test_the_picture_is_a_whole_png_of_two_colours() -> None:
    png = engine_question.picture(6, 4)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = {}, 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        body = png[place + 4 : place + 8 + length]
        assert struct.unpack(">I", png[place + 8 + length : place + 12 + length])[0] == zlib.crc32(body)
        chunks[body[:4]] = body[4:]
        place += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (6, 4, 8, 2, 0, 0, 0)
    row = b"\0" + engine_question.LEFT * 3 + engine_question.RIGHT * 3
    assert zlib.decompress(chunks[b"IDAT"]) == row * 4
    assert len(engine_question.picture()) < 1024


@pytest.mark.parametrize(("picture", "mend"), [(True, True), (False, False)])
def test_a_server_that_takes_no_picture_is_told_with_the_mend(
    monkeypatch: pytest.MonkeyPatch, picture: bool, mend: bool
) -> None:
    said = {"failed": True, "msg": "Status code was 400", "status": 400, "json": {"message": "Unknown modality: image"}}
    found, _calls = ask(monkeypatch, said, CHAT, picture)
    assert "Status code was 400: Unknown modality: image" in found["msg"]
    assert ("set trtllm_serve_vision: never" in found["msg"]) is mend
