# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module itself, on real files."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.modules import file_tree


def run(capsys: pytest.CaptureFixture, *, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
    arguments.update({"_ansible_check_mode": check_mode, "_ansible_diff": True})
    with patch_module_args(arguments), pytest.raises(SystemExit):
        file_tree.main()
    return json.loads(capsys.readouterr().out)


def wanted(root: Path, content: str = "one\n", mode: str = "0640") -> dict[str, Any]:
    return {
        "directories": [{"path": str(root / "a")}, {"path": str(root / "a" / "ssh"), "mode": "0700"}],
        "files": [{"path": str(root / "a" / "ssh" / "hosts"), "content": content, "mode": mode}],
    }


def seen(root: Path) -> dict[str, tuple[int, str | None]]:
    return {
        str(path.relative_to(root)): (stat.S_IMODE(path.stat().st_mode), None if path.is_dir() else path.read_text())
        for path in root.rglob("*")
    }


def test_makes_what_is_missing_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    names = [str(tmp_path / "a"), str(tmp_path / "a" / "ssh"), str(tmp_path / "a" / "ssh" / "hosts")]
    foretold = run(capsys, check_mode=True, **wanted(tmp_path))
    assert (foretold["changed"], foretold["written"], seen(tmp_path)) == (True, names, {})
    first = run(capsys, **wanted(tmp_path))
    assert (first["changed"], first["written"], first["diff"]) == (True, names, foretold["diff"])
    assert seen(tmp_path) == {"a": (0o755, None), "a/ssh": (0o700, None), "a/ssh/hosts": (0o640, "one\n")}
    for check_mode in (False, True):
        again = run(capsys, check_mode=check_mode, **wanted(tmp_path))
        assert (again["changed"], again["written"], again["diff"]) == (False, [], [])


def test_replaces_what_differs_and_leaves_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run(capsys, **wanted(tmp_path))
    foreign = tmp_path / "a" / "ssh" / "foreign"
    foreign.write_text("not ours")
    before = seen(tmp_path)
    for content, mode, written in (("two\n", "0640", True), ("two\n", "0600", False)):
        foretold = run(capsys, check_mode=True, **wanted(tmp_path, content, mode))
        assert (foretold["changed"], bool(foretold["written"]), seen(tmp_path)) == (True, written, before)
        assert run(capsys, **wanted(tmp_path, content, mode))["changed"]
        assert seen(tmp_path)["a/ssh/hosts"] == (int(mode, 8), content)
        before = seen(tmp_path)
    assert foreign.read_text() == "not ours"
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"directories": [{"path": "taken"}]}, "is to be a directory, and is a file"),
        ({"files": [{"path": "folder", "content": ""}]}, "is to be a file, and is a directory"),
        ({"files": [{"path": "nowhere/file", "content": ""}]}, "nowhere' is not there: create it first"),
    ],
)
def test_refuses_what_is_in_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture, arguments: dict[str, Any], says: str
) -> None:
    (tmp_path / "taken").write_text("")
    (tmp_path / "folder").mkdir()
    placed = {
        kind: [{**entry, "path": str(tmp_path / entry["path"])} for entry in entries]
        for kind, entries in arguments.items()
    }
    result = run(capsys, **placed)
    assert result["failed"]
    assert says in result["msg"]


def test_files_with_a_relative_path_lie_below_the_root(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = [{"path": "Dockerfile", "content": "FROM x\n"}, {"path": "a/b/c.py", "content": ""}]
    assert run(capsys, root=str(tmp_path / "context"), files=files)["changed"]
    assert set(seen(tmp_path / "context")) == {"Dockerfile", "a", "a/b", "a/b/c.py"}
    assert not run(capsys, root=str(tmp_path / "context"), files=files)["changed"]


def test_removes_what_is_there_and_directories_that_are_empty_then(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ("etc/trtllm/ssh", "var/trtllm", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc" / "trtllm" / "ssh" / "key").touch()
    (tmp_path / "var" / "note").touch()
    (tmp_path / "var" / "link").symlink_to(tmp_path / "elsewhere")
    options = {
        "absent": [str(tmp_path / name) for name in ("etc/trtllm", "var/trtllm", "var/link", "none")],
        "absent_if_empty": [str(tmp_path / name) for name in ("etc", "var", "none")],
    }
    gone = [str(tmp_path / name) for name in ("etc/trtllm", "var/trtllm", "var/link", "etc")]
    assert run(capsys, check_mode=True, **options)["removed"] == gone
    assert (tmp_path / "etc" / "trtllm" / "ssh" / "key").exists()
    assert run(capsys, **options)["removed"] == gone
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "var"], "what is linked to stays"
    again = run(capsys, **options)
    assert (again["changed"], again["removed"]) == (False, [])


@pytest.mark.parametrize("before", [None, "old\n"])
def test_a_secret_is_readable_by_nobody_else_for_no_moment(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    """Whatever mode the file that is replaced had."""
    path, modes = tmp_path / "secret", []
    if before:
        path.write_text(before)
        path.chmod(0o644)
    whole = os.rename, os.chmod

    def look(*arguments: Any, **options: Any) -> None:
        whole[len(arguments) > 1 and isinstance(arguments[1], int)](*arguments, **options)
        if path.exists() and path.read_text() == "s3cret\n":
            modes.append(stat.S_IMODE(path.stat().st_mode))

    monkeypatch.setattr(os, "rename", look)
    monkeypatch.setattr(os, "chmod", look)
    umask = os.umask(0o022)
    try:
        run(capsys, files=[{"path": str(path), "content": "s3cret\n", "mode": "0600"}])
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(umask)
    assert modes
    assert set(modes) == {0o600}
