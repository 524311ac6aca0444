# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What last served is kept and put back by the module, and the leader's history tells of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import fake_docker
import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import layout
from ansible_collections.sparkops.dgx_spark.plugins.modules import engine_history_info, engine_last_good

GOOD = "aaaaaaaaaaaa-111111111111"
CLUSTER = {"nodes": [{"name": "spark1"}, {"name": "spark2"}], "limits": {"load_timeout_s": 77, "require_rdma": True}}


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """A leader's directory, of a Swarm that serves."""
    found = {**layout.layout("trtllm"), "config_dir": str(tmp_path / "etc")}
    (tmp_path / "etc").mkdir()
    for name, text in (("cluster.json", json.dumps(CLUSTER)), ("stack.yml", GOOD), ("node.json", "old")):
        (tmp_path / "etc" / name).write_text(text)
    return found


@pytest.fixture
def last_good(tmp_path: Path, places: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """Run the module over a host without containers, with a docker client that notes what it is told."""
    ran: list[list[str]] = []
    monkeypatch.setattr(AnsibleModule, "run_command", lambda _self, argv, **_options: ran.append(argv) or (0, "", ""))
    with fake_docker.listening(fake_docker.Engine(), tmp_path / "docker.sock") as path:

        def run(state: str, **options: Any) -> dict[str, Any]:
            asked = {
                **{"state": state, "layout": places, "launcher": "swarm", "members": ["spark1", "spark2"]},
                **{"leader": True, "good": GOOD, "docker_socket": path, **options},
            }
            with patch_module_args(asked), pytest.raises(SystemExit):
                engine_last_good.main()
            return json.loads(capsys.readouterr().out)

        run.ran = ran
        yield run


def history(places: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> list[dict[str, Any]]:
    monkeypatch.setattr(engine_history_info, "layout", lambda _engine, _instance: places)
    with patch_module_args({"engine": "trtllm"}), pytest.raises(SystemExit):
        engine_history_info.main()
    return json.loads(capsys.readouterr().out)["history"]


def entry(repo: str, outcome: str = "served", **more: Any) -> dict[str, Any]:
    return {"repo": repo, "commit": "c", "config": GOOD, "outcome": outcome, "asked": {}, **more}


def test_it_is_kept_put_back_and_forgotten(
    last_good: Callable[..., Any], places: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = Path(places["config_dir"])
    assert last_good("forgotten", entry=entry("lab/a"))["changed"] is False
    kept = last_good("kept")
    assert (kept["kept"], kept["why"], kept["repo"], kept["changed"]) == (True, "", "lab/a", True)
    assert (kept["load_timeout"], kept["require_rdma"], kept["was_stopped"]) == (377, True, False)
    assert last_good("kept")["changed"] is False
    (folder / "node.json").write_text("new")
    told = last_good("restored", entry=entry("lab/b", "put back", why="it crashed"))
    assert (told["changed"], told["started"], told["began"]) == (True, True, 0)
    assert (folder / "node.json").read_text() == "old"
    assert last_good.ran[-1][:3] == ["docker", "stack", "deploy"]
    told = last_good("forgotten")
    assert told["forgotten"] == [str(folder / "kept")]
    assert [(one["repo"], one["outcome"], one["why"]) for one in history(places, monkeypatch, capsys)] == [
        ("lab/a", "served", ""),
        ("lab/b", "put back", "it crashed"),
    ]
    assert all(one["at"] > 1e9 for one in history(places, monkeypatch, capsys))


def test_what_is_not_kept_is_no_failure_and_cannot_be_put_back(
    last_good: Callable[..., Any], places: dict[str, str]
) -> None:
    found = last_good("kept", members=["spark1"])
    assert (found["kept"], found["why"], found["changed"]) == (False, "it served on spark1, spark2", False)
    failed = last_good("restored")
    assert failed["failed"]
    assert GOOD in failed["msg"]


@pytest.mark.parametrize("state", ["kept", "started", "restored", "forgotten"])
def test_a_dry_run_changes_nothing(last_good: Callable[..., Any], places: dict[str, str], state: str) -> None:
    before = sorted(Path(places["config_dir"]).rglob("*"))
    found = last_good(state, entry=entry("lab/a"), _ansible_check_mode=True)
    assert not found.get("failed")
    assert sorted(Path(places["config_dir"]).rglob("*")) == before
    assert last_good.ran == []


def test_a_host_without_a_history_has_none(
    places: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert history(places, monkeypatch, capsys) == []
