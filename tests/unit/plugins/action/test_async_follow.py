# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step in the background is followed to its end, and says how far it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action import async_follow

ABOUT = {"what": "a/b copied", "bytes": 4e9, "bytes_there": 3e9, "bytes_moved": 1, "began": 0}


def job(*progress: dict[str, Any], **result: Any) -> dict[str, Any]:
    """What the host says of a step."""
    return {"there": True, "result": result, "progress": list(progress)}


@pytest.fixture
def asked() -> list[dict[str, Any]]:
    """What the host was asked."""
    return []


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch, asked: list[dict[str, Any]]):
    """Run the plugin with these answers from the host, one after the other."""

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
        options = {"started": started, "progress": files, "interval": 5}
        monkeypatch.setattr(plugin, "validate_argument_spec", lambda **_spec: (None, options), raising=False)

        def execute(_name: str, module_args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
            asked.append(module_args)
            return answers.pop(0)

        monkeypatch.setattr(plugin, "_execute_module", execute, raising=False)
        return plugin.run(task_vars={"inventory_hostname": "spark2"}), said

    return run


def test_to_its_end(follow) -> None:
    told, said = follow({"ansible_job_id": "j1"}, [job(), job(ABOUT), job(ABOUT), job(changed=True, x=1)])
    assert told == {"changed": True, "x": 1, "finished": True, "ansible_job_id": "j1"}
    assert len(said) in (1, 2), "what has not changed is not said again"
    assert said[0].startswith("spark2: a/b copied, 3.00 of 4.00 GB")
    assert said[0].count("a/b copied") == 1


def test_says_what_runs_beside_it(follow) -> None:
    _told, said = follow({"ansible_job_id": "j1"}, [job(ABOUT, ABOUT, ABOUT), job(ABOUT), job(changed=False)])
    assert [line.count("a/b copied") for line in said] == [3, 1]


def test_an_images_pull_is_asked_for_without_being_named(follow, asked: list[dict[str, Any]]) -> None:
    follow({"ansible_job_id": "j1"}, [job(), job(changed=True)], ("/p", async_follow.PULL))
    follow({"ansible_job_id": "j1"}, [job(changed=True)])
    assert [one["progress"] for one in asked] == [["/p", async_follow.PULL]] * 3
    assert [one["wait"] for one in asked] == [5] * 3, "each question waits on the host, and returns when the step ends"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"there": False, "result": {}, "progress": []}, "the host knows of no step j1"),
        ({"failed": True, "msg": "no python"}, "no python"),
        (job(failed=True, msg="the disk is full"), "the disk is full"),
    ],
)
def test_a_step_that_failed_or_is_unknown(follow, answer: dict[str, Any], says: str) -> None:
    told, _said = follow({"ansible_job_id": "j1"}, [answer])
    assert told["failed"]
    assert says in told["msg"]


def test_what_was_skipped_or_ran_at_once_is_passed_on(follow) -> None:
    skipped = {"skipped": True, "changed": False}
    assert follow(skipped, [])[0] == skipped
    assert follow({"changed": True, "copied_bytes": 7}, [])[0] == {"changed": True, "copied_bytes": 7}
