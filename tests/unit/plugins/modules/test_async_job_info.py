# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible's files say of a step in the background, and how long that is waited for."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.modules import async_job_info

RUNS = {"started": True, "finished": False, "ansible_job_id": "j1.7"}


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one process of the host: Ansible's, which runs the step."""
    path = tmp_path / "proc" / "4" / "cmdline"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"/usr/bin/python3\0/root/.ansible/tmp/async_wrapper.py\0j1\x0086400\0")
    monkeypatch.setattr(async_job_info, "PROC", tmp_path / "proc")
    return path


@pytest.fixture
def ask(tmp_path: Path, process: Path, capsys: pytest.CaptureFixture):
    def run(wait: float = 0, **more: Any) -> dict[str, Any]:
        asked = {"jid": "j1.7", "dir": str(tmp_path), "wait": wait, **more}
        with patch_module_args(asked), pytest.raises(SystemExit):
            async_job_info.main()
        return json.loads(capsys.readouterr().out)

    return run


@pytest.mark.parametrize("text", ["", "{", json.dumps(RUNS), "[]"])
def test_a_step_that_runs(ask, tmp_path: Path, text: str) -> None:
    (tmp_path / "j1.7").write_text(text)
    told = ask()
    assert (told["there"], told["result"], told["changed"]) == (True, {}, False)


@pytest.mark.parametrize("ended", [{"changed": True}, {"started": True, "finished": True, "rc": 1}])
def test_a_step_that_has_ended(ask, tmp_path: Path, ended: dict[str, Any]) -> None:
    (tmp_path / "j1.7").write_text(json.dumps(ended))
    assert ask(wait=60)["result"] == ended


def test_a_step_that_the_host_does_not_know(ask) -> None:
    assert ask(wait=60)["there"] is False
    assert ask(jid="../../../etc/passwd")["there"] is False


@pytest.mark.parametrize("text", ["", json.dumps(RUNS)])
def test_a_step_that_was_killed_is_not_waited_for(ask, tmp_path: Path, process: Path, text: str) -> None:
    (tmp_path / "j1.7").write_text(text)
    process.write_bytes(b"another\0j11\0")
    told = ask(wait=60)["result"]
    assert told["failed"]
    assert "has ended without a result" in told["msg"]
    process.unlink()
    assert ask(wait=60)["result"] == told


def test_the_end_is_seen_when_it_comes(ask, tmp_path: Path) -> None:
    (tmp_path / "j1.7").write_text(json.dumps(RUNS))
    began = time.monotonic()
    assert ask(wait=0.3)["result"] == {}
    assert time.monotonic() - began > 0.3
    end = threading.Timer(0.3, lambda: (tmp_path / "j1.7").write_text('{"changed": true}'))
    end.start()
    began = time.monotonic()
    assert ask(wait=60)["result"] == {"changed": True}
    assert time.monotonic() - began < 30


def test_the_progress_of_what_is_there(ask, tmp_path: Path) -> None:
    (tmp_path / "j1.7").write_text(json.dumps(RUNS))
    for name, text in (("a", '{"what": "x"}'), ("b", "half of"), ("c", '{"what": "y"}')):
        (tmp_path / name).write_text(text)
    told = ask(progress=[str(tmp_path / name) for name in ("c", "a", "b", "none")])
    assert told["progress"] == [{"what": "y"}, {"what": "x"}]
