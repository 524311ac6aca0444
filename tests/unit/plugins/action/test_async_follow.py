# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step in the background is followed to its end, and says how far it is."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action import async_follow

ABOUT = {"what": "a/b copied", "bytes": 4e9, "bytes_there": 3e9, "bytes_moved": 1, "began": 0}
NONE = {"failed": True}
PROGRESS = {"content": base64.b64encode(json.dumps(ABOUT).encode()).decode()}


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch):
    """Run the plugin with these answers from the host, one after the other."""
    monkeypatch.setattr(async_follow.time, "sleep", lambda _seconds: None)

    def run(
        started: dict[str, Any], answers: list[dict[str, Any]], files: tuple[str, ...] = ("/p",)
    ) -> tuple[dict[str, Any], list[str]]:
        said: list[str] = []
        plugin = async_follow.ActionModule.__new__(async_follow.ActionModule)
        plugin._task = SimpleNamespace(args={"started": started, "progress": "/p"}, async_val=0, diff=False)
        plugin._display = SimpleNamespace(display=said.append)
        monkeypatch.setattr(async_follow.ActionBase, "run", lambda *_about: {})
        monkeypatch.setattr(plugin, "get_shell_option", lambda _name, default: default, raising=False)
        monkeypatch.setattr(plugin, "_remote_expand_user", lambda path: path, raising=False)
        asked = {"started": started, "progress": files, "interval": 5}
        monkeypatch.setattr(plugin, "validate_argument_spec", lambda **_spec: (None, asked), raising=False)
        monkeypatch.setattr(plugin, "_execute_module", lambda *_name, **_options: answers.pop(0), raising=False)
        return plugin.run(task_vars={"inventory_hostname": "spark2"}), said

    return run


def test_to_its_end(follow) -> None:
    running, end = {"started": True, "finished": False}, {"started": True, "finished": True, "changed": True, "x": 1}
    told, said = follow(
        {"ansible_job_id": "j1"}, [running, NONE, NONE, running, PROGRESS, NONE, running, PROGRESS, NONE, end]
    )
    assert told == end
    assert len(said) in (1, 2), "what has not changed is not said again"
    assert said[0].startswith("spark2: a/b copied, 3.00 of 4.00 GB")
    assert said[0].count("a/b copied") == 1


def test_says_what_runs_beside_it(follow) -> None:
    running, end = {"started": True, "finished": False}, {"started": True, "finished": True}
    _told, said = follow(
        {"ansible_job_id": "j1"},
        [running, PROGRESS, PROGRESS, PROGRESS, running, NONE, PROGRESS, NONE, end],
        ("/p", "/q"),
    )
    assert [line.count("a/b copied") for line in said] == [3, 1]


def test_an_images_pull_is_shown_without_being_named(follow) -> None:
    running, end = {"started": True, "finished": False}, {"started": True, "finished": True}
    _told, said = follow({"ansible_job_id": "j1"}, [running, NONE, PROGRESS, end])
    assert len(said) == 1
    _told, said = follow({"ansible_job_id": "j1"}, [running, PROGRESS, end], (async_follow.PULL,))
    assert [line.count("a/b copied") for line in said] == [1], "and once where it is what is followed"


def test_what_was_skipped_or_ran_at_once_is_passed_on(follow) -> None:
    skipped = {"skipped": True, "changed": False}
    assert follow(skipped, [])[0] == skipped
    assert follow({"changed": True, "copied_bytes": 7}, [])[0] == {"changed": True, "copied_bytes": 7}
