# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build's unit on a host: when it is started, begun anew or left alone, and what is removed of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Sequence

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import layout, unit

REQUEST = {"id": "one", "what": "an image", "stages": []}


class Systemd:
    """SIMULATED: whether the unit runs, and what was asked."""

    def __init__(self, active: bool = False, refuses: str = "") -> None:
        self.active, self.refuses, self.asked = active, refuses, []

    asked: list[list[str]]

    def __call__(self, argv: Sequence[str]) -> tuple[int, str, str]:
        self.asked.append(list(argv))
        if argv[1] == "show":
            return 0, "active\n" if self.active else "inactive\n", ""
        if argv[0] == "systemd-run" and self.refuses:
            return 1, "", self.refuses
        self.active = argv[0] == "systemd-run"
        return 0, "", ""

    @property
    def started(self) -> bool:
        return any(argv[0] == "systemd-run" for argv in self.asked)


def note(folder: Path, **state: Any) -> None:
    (folder / layout.STATE).write_text(json.dumps({"id": "one", "what": "an image", **state}))


def test_a_build_is_started_with_its_program_and_request(tmp_path: Path) -> None:
    run, folder = Systemd(), tmp_path / "build"
    assert unit.start(run, layout.IMAGE, str(folder), REQUEST, "text")
    assert json.loads((folder / layout.REQUEST).read_text()) == REQUEST
    assert (folder / layout.PROGRAM).read_text() == "text"
    argv = next(argv for argv in run.asked if argv[0] == "systemd-run")
    assert argv[-1] == f"{folder}/request.json"
    assert "--unit=dgx-spark-build.service" in argv


def test_a_build_that_runs_is_left_alone_and_another_one_refused(tmp_path: Path) -> None:
    note(tmp_path, phase="running")
    run = Systemd(active=True)
    assert not unit.start(run, layout.IMAGE, str(tmp_path), REQUEST, "text")
    with pytest.raises(unit.UnitError, match="is building an image"):
        unit.start(run, layout.IMAGE, str(tmp_path), {**REQUEST, "id": "two"}, "text")
    assert not run.started
    assert not (tmp_path / layout.REQUEST).exists()


@pytest.mark.parametrize(("phase", "source", "kept"), [("running", True, True), ("failed", True, True), ("done", True, False), ("running", False, False)])
def test_what_was_done_counts_where_it_is_still_there(tmp_path: Path, phase: str, source: bool, kept: bool) -> None:
    note(tmp_path, phase=phase, done=["fetch"])
    if source:
        (tmp_path / layout.SOURCE).mkdir()
    unit.start(Systemd(), layout.IMAGE, str(tmp_path), REQUEST, "text")
    assert (tmp_path / layout.STATE).exists() == kept


def test_systemds_reason_is_told(tmp_path: Path) -> None:
    with pytest.raises(unit.UnitError, match="no bus"):
        unit.start(Systemd(refuses="no bus"), layout.IMAGE, str(tmp_path), REQUEST, "text")


@pytest.mark.parametrize(
    ("phase", "active", "outcome", "told"),
    [
        ("running", True, "running", False),
        ("running", False, "interrupted", True),
        ("failed", False, "failed", True),
        ("done", False, "done", False),
        ("done", True, "running", False),
    ],
)
def test_how_a_build_stands(tmp_path: Path, phase: str, active: bool, outcome: str, told: bool) -> None:
    note(tmp_path, phase=phase)
    (tmp_path / layout.LOG).write_bytes(b"one\rtwo\n\n\xff\n")
    found = unit.waited(Systemd(active), layout.IMAGE, str(tmp_path), 0)
    assert found["outcome"] == outcome
    assert found["log"] == (["one", "two", "\ufffd"] if told else [])


def test_no_build_is_none(tmp_path: Path) -> None:
    (tmp_path / layout.STATE).write_text("[half")
    assert unit.waited(Systemd(), layout.IMAGE, str(tmp_path), 0) == {"outcome": "", "state": {}, "log": []}


def test_undo_leaves_nothing_and_may_leave_the_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit, "ROOT", str(tmp_path))
    folder = tmp_path / "build"
    unit.start(Systemd(), layout.IMAGE, str(folder), REQUEST, "text")
    (folder / layout.SOURCE / ".git").mkdir(parents=True)
    assert set(unit.remove(str(folder), source=False)) == {str(folder / layout.PROGRAM), str(folder / layout.REQUEST)}
    assert [path.name for path in folder.iterdir()] == [layout.SOURCE]
    assert unit.remove(str(folder), source=True) == [str(folder / layout.SOURCE)]
    assert not tmp_path.exists()
    assert unit.remove(str(folder), source=True) == []


@pytest.mark.parametrize("there", [layout.SOURCE, layout.LOG, layout.REQUEST])
def test_a_directory_of_somebody_else_is_neither_built_in_nor_emptied(tmp_path: Path, there: str) -> None:
    if there == layout.SOURCE:
        (tmp_path / there / ".git").mkdir(parents=True)
    else:
        (tmp_path / there).write_text("{}")
    assert unit.foreign(str(tmp_path)) == [there]
    run = Systemd()
    with pytest.raises(unit.UnitError, match=rf"{there}.*another image_build_dir"):
        unit.start(run, layout.IMAGE, str(tmp_path), REQUEST, "text")
    assert not run.started
    assert unit.remove(str(tmp_path), source=True) == []
    assert [path.name for path in tmp_path.iterdir()] == [there]
