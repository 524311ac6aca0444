# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that runs the stages of a build: it goes on where it was killed, and says how far it is."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from roles_support import ROOT

PROGRAM = ROOT / "roles/image_build/files/build.py"


def load() -> ModuleType:
    about = importlib.util.spec_from_file_location("image_build_program", PROGRAM)
    assert about
    assert about.loader
    module = importlib.util.module_from_spec(about)
    about.loader.exec_module(module)
    return module


program = load()


def stage(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "title": name.title(), "argv": ["/bin/sh", "-c", script], **more}


def write(folder: Path, *stages: dict[str, Any], **more: Any) -> Path:
    path = folder / "request.json"
    path.write_text(json.dumps({"id": "one", "what": "a test", "stages": stages, **more}))
    return path


def state(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "state.json").read_text())


def run(path: Path) -> int:
    return subprocess.run([sys.executable, "-I", str(PROGRAM), str(path)], check=False).returncode


def test_stages_run_in_order_and_not_again(tmp_path: Path) -> None:
    path = write(tmp_path, stage("a", "echo a >> ran"), stage("b", "echo b >> ran"), stage("c", "pwd; echo $X"))
    request = json.loads(path.read_text())
    for one in request["stages"]:
        one.update(cwd=str(tmp_path), environment={"X": "told"})
    path.write_text(json.dumps(request))
    assert run(path) == 0
    assert run(path) == 0
    assert (tmp_path / "ran").read_text() == "a\nb\n"
    found = state(tmp_path)
    assert (found["phase"], found["done"], found["starts"]) == ("done", ["a", "b", "c"], 2)
    assert f"{tmp_path}\ntold\n" in (tmp_path / "log").read_text()


def test_a_failure_is_told_with_the_last_lines_and_gone_on_from(tmp_path: Path) -> None:
    path = write(
        tmp_path, stage("a", f"echo a >> {tmp_path}/ran"), stage("b", f"echo no room; test -e {tmp_path}/mended")
    )
    assert run(path) == 1
    found = state(tmp_path)
    assert (found["phase"], found["stage"], found["status"]) == ("failed", "b", 1)
    assert found["reason"][-1] == "no room"
    (tmp_path / "mended").touch()
    assert run(path) == 0
    assert (tmp_path / "ran").read_text() == "a\n"


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    one = {**stage("a", ""), "argv": ["/nowhere/git"]}
    assert run(write(tmp_path, one)) == 1
    assert "/nowhere/git cannot be started: No such file" in state(tmp_path)["reason"][-1]


def test_another_request_begins_anew(tmp_path: Path) -> None:
    assert run(write(tmp_path, stage("a", "true"))) == 0
    assert run(write(tmp_path, stage("a", "false"), id="two")) == 1
    assert state(tmp_path)["starts"] == 1


def test_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "PAUSE_S", 0.01)
    request = {"id": "one", "what": "a test", "stages": [stage("a", f"echo a >> {tmp_path}/ran; exit 7", attempts=3)]}
    assert program.build(request, tmp_path) == 1
    assert (tmp_path / "ran").read_text() == "a\na\na\n"


def test_killed_it_goes_on_with_the_stage_and_removes_gits_locks(tmp_path: Path) -> None:
    git = tmp_path / "source" / ".git" / "modules" / "x"
    git.mkdir(parents=True)
    script = (
        f"echo x >> {tmp_path}/ran; touch {git}/index.lock; echo '[ 40%] Building'; test -e {tmp_path}/go || sleep 60"
    )
    path = write(tmp_path, stage("a", "true"), stage("b", script), unlock=[str(tmp_path / "source" / ".git")])
    child = subprocess.Popen([sys.executable, "-I", str(PROGRAM), str(path)], start_new_session=True)
    try:
        until = time.monotonic() + 20
        while not (git / "index.lock").exists() and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    assert state(tmp_path)["phase"] == "running"
    (git / "packed.lock.d").mkdir()
    (tmp_path / "go").touch()
    assert run(path) == 0
    found = state(tmp_path)
    assert (found["starts"], found["done"]) == (2, ["a", "b"])
    assert (tmp_path / "ran").read_text() == "x\nx\n"
    assert "which an earlier run left" in (tmp_path / "log").read_text()


def test_how_far_it_is(tmp_path: Path) -> None:
    note = program.Note(tmp_path / "state.json", {"id": "one", "what": "a", "stages": []})
    program.tell(
        ["#23 [wheel 9/9] RUN python3 scripts/build_wheel.py", "#23 812.4 [ 45%] Building CUDA object a.cu.o"], note
    )
    assert (note.state["step"], note.state["percent"]) == ("wheel 9/9", 45)
    program.tell(["#24 [release 1/4] COPY --from=wheel /src /src"], note)
    assert (note.state["step"], note.state["percent"]) == ("release 1/4", None)


@pytest.mark.parametrize(
    ("line", "percent"),
    [
        ("Receiving objects:  45% (123/273), 1.20 MiB | 2.00 MiB/s", 45),
        ("Downloading LFS objects:  33% (1/3), 20 KB | 0 B/s", 33),
        ("#23 9.1 [10/40] Building CXX object", 25),
        ("#23 [wheel 9/9] RUN x", None),
        ("#5 [internal] load build definition from Dockerfile.multi", None),
        ("[10/0] nothing", None),
        ("[999%] more", 100),
    ],
)
def test_lines_of_git_make_ninja_and_buildkit(line: str, percent: int | None) -> None:
    assert program.percent_of(line) == percent


@given(st.text(max_size=80))
def test_any_line_can_be_read(line: str) -> None:
    percent = program.percent_of(line)
    assert percent is None or 0 <= percent <= 100
    program.step_of(line)
