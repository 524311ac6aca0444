# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The originals of several files are kept, and restored or refused together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import ledger
from ansible_collections.sparkops.dgx_spark.plugins.modules import ledger_file


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "dgx-spark" / "originals"
    monkeypatch.setattr(ledger, "ROOT", str(path))
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture):
    def play(path: Path | list[Path], check_mode: bool = False, **options: str) -> dict:
        paths = [str(one) for one in (path if isinstance(path, list) else [path])]
        asked = {"path": paths, "_ansible_check_mode": check_mode, **options}
        with patch_module_args(asked), pytest.raises(SystemExit):
            ledger_file.main()
        return json.loads(capsys.readouterr().out)

    return play


def test_keeps_and_restores(run, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("first\n")
    planned = run(path, check_mode=True)
    assert (planned["changed"], planned["files"][0]["original"]) == (True, None)
    kept = run(path)["files"][0]
    assert (kept["existed"], Path(kept["original"]).read_text()) == (True, "first\n")
    assert run(path)["changed"] is False
    path.write_text("ours\n")
    assert run(path, state="written")["changed"]
    assert run(path, state="written")["changed"] is False
    path.write_text("theirs\n")
    assert "another program or person" in run(path, state="restored")["msg"]
    restored = run(path, state="restored", foreign="overwrite")
    assert (restored["changed"], restored["diff"][0]["after"], path.read_text()) == (True, "first\n", "first\n")
    assert restored["files"][0] == {"path": str(path), "existed": True, "original": None, "restored": True}
    again = run(path, state="restored")
    assert (again["changed"], again["files"][0]["restored"]) == (False, False)


def test_one_refusal_restores_none(run, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    run([one, other])
    for path in (one, other):
        path.write_text("ours\n")
    run([one, other], state="written")
    other.write_text("theirs\n")
    assert "other was changed by another program or person" in run([one, other], state="restored")["msg"]
    assert one.exists()
    other.write_text("ours\n")
    assert run([one, other], state="restored", check_mode=True)["changed"]
    assert one.exists()
    assert run([one, other], state="restored")["changed"]
    assert not one.exists()
    assert not other.exists()


@pytest.mark.parametrize("when", ["after our last change", "between two changes of ours"])
def test_a_shared_file_keeps_what_others_changed(
    run, tmp_path: Path, root: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(ledger_file.AnsibleModule, "warn", lambda _self, warning: warnings.append(warning))
    path = tmp_path / "hosts"
    path.write_text("first\n")
    run(path, foreign="keep")
    path.write_text("first\nours\n")
    run(path, state="written")
    path.write_text("first\nours\ntheirs\n")
    if when.startswith("between"):
        assert run(path, foreign="keep")["changed"] is False
        path.write_text("first\nours again\ntheirs\n")
        run(path, state="written")
    left = path.read_text()
    planned = run(path, state="restored", foreign="keep", check_mode=True)
    assert (planned["changed"], planned["files"][0]["restored"], root.exists()) == (True, False, True)
    undone = run(path, state="restored", foreign="keep")
    assert (undone["changed"], undone["files"][0]["restored"], path.read_text()) == (True, False, left)
    assert warnings == [f"{path} was changed by another program or person: it is not restored as a whole."] * 2
    assert not root.parent.exists(), "nothing is left of the ledger"


def test_a_shared_file_of_an_interrupted_run_is_left_as_it_is(run, tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("first\n")
    run(path, foreign="keep")
    path.write_text("first\nours or theirs\n")
    assert run(path, state="restored", foreign="keep")["files"][0]["restored"] is False
    assert path.read_text() == "first\nours or theirs\n"


def test_a_shared_file_that_nobody_else_changed_is_restored(run, tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("no newline at its end")
    run(path, foreign="keep")
    path.write_text("no newline at its end\nours\n")
    run(path, state="written")
    assert run(path, state="restored", foreign="keep")["files"][0]["restored"]
    assert path.read_text() == "no newline at its end"


def test_the_ledger_leaves_the_directories_of_others(run, tmp_path: Path, root: Path) -> None:
    path = tmp_path / "file"
    run(path)
    (root.parent / "fabric").mkdir()
    path.write_text("ours\n")
    run(path, state="restored")
    assert not root.exists()
    assert root.parent.exists()
