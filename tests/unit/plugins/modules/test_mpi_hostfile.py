# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module itself, on real files."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.modules import mpi_hostfile

HEADER = "# Ansible managed (sparkops.dgx_spark.mpi_hostfile): changes made here will be lost.\n"
NODES = [{"address": "192.168.100.10"}, {"address": "192.168.100.11", "slots": 2}]
TEXT = f"{HEADER}192.168.100.10 slots=1\n192.168.100.11 slots=2\n"


def run(capsys: pytest.CaptureFixture, path: Path, *, check_mode: bool = False, **arguments: object) -> dict:
    """Run the module in this process."""
    arguments.update({"path": str(path), "_ansible_check_mode": check_mode, "_ansible_diff": True})
    with patch_module_args(arguments), pytest.raises(SystemExit):
        mpi_hostfile.main()
    return json.loads(capsys.readouterr().out)


def mode(path: Path) -> int:
    """Return the permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_writes_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "hostfile"
    first = run(capsys, path, nodes=NODES, mode="0640")
    assert (first["changed"], first["path"], first["content"]) == (True, str(path), TEXT)
    assert (first["diff"][0]["before"], first["diff"][0]["after"]) == ("", TEXT)
    assert (path.read_text(), mode(path)) == (TEXT, 0o640)
    inode = path.stat().st_ino
    second = run(capsys, path, nodes=NODES, mode="0640")
    assert (second["changed"], second["diff"][0]["before"]) == (False, TEXT)
    assert path.stat().st_ino == inode
    assert list(tmp_path.iterdir()) == [path]


def test_replaces_in_one_step_and_keeps_the_mode(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "hostfile"
    path.write_text("old\n")
    path.chmod(0o604)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    owner = (path.stat().st_uid, path.stat().st_gid)
    with path.open() as reader:
        result = run(capsys, path, nodes=NODES)
        assert reader.read() == "old\n"  # who had it open still sees the old file whole
    assert result["changed"]
    assert (result["diff"][0]["before"], result["diff"][0]["after"]) == ("old\n", TEXT)
    assert (path.read_text(), mode(path)) == (TEXT, 0o604)
    assert (path.stat().st_uid, path.stat().st_gid) == owner
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("before", [None, "old\n", TEXT], ids=["new", "changed", "same"])
@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("wanted_mode", [None, "0600"])
def test_check_mode_foretells_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture, before: str | None, state: str, wanted_mode: str | None
) -> None:
    path = tmp_path / "hostfile"
    if before is not None:
        path.write_text(before)
        path.chmod(0o644)
    arguments = {"nodes": NODES, "state": state, "mode": wanted_mode}
    foretold = run(capsys, path, check_mode=True, **arguments)
    assert (path.read_text() if path.exists() else None) == before
    assert before is None or mode(path) == 0o644
    done = run(capsys, path, **arguments)
    assert foretold["changed"] == done["changed"]
    assert foretold["diff"][0] == done["diff"][0]
    assert run(capsys, path, **arguments)["changed"] is False


def test_check_mode_does_not_need_the_directory(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    # The task that makes it has not made it in check mode either.
    assert run(capsys, tmp_path / "missing" / "hostfile", check_mode=True, nodes=NODES, mode="0600")["changed"]


def test_changes_the_mode_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "hostfile"
    run(capsys, path, nodes=NODES, mode="0644")
    result = run(capsys, path, nodes=NODES, mode="0600")
    assert result["changed"]
    assert (result["diff"][1]["before"], result["diff"][1]["after"]) == ({"mode": "0644"}, {"mode": "0600"})
    assert mode(path) == 0o600


def test_absent_removes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "hostfile"
    path.write_bytes(b"\xff old\n")
    result = run(capsys, path, state="absent")
    assert (result["changed"], result["diff"][0]["before"], result["diff"][0]["after"]) == (True, "\ufffd old\n", "")
    assert not path.exists()
    assert run(capsys, path, state="absent")["changed"] is False


@pytest.mark.parametrize("target", [None, "nowhere"], ids=["empty", "dangling-link"])
def test_absent_removes_what_holds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture, target: str | None) -> None:
    path = tmp_path / "hostfile"
    path.symlink_to(target) if target else path.touch()
    assert run(capsys, path, state="absent")["changed"] is True
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_followed_to_write_and_removed_itself(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path, link = tmp_path / "hostfile", tmp_path / "link"
    link.symlink_to("hostfile")
    result = run(capsys, link, nodes=NODES, mode="0600")
    assert (result["path"], path.read_text(), mode(path), link.is_symlink()) == (str(path), TEXT, 0o600, True)
    assert run(capsys, link, state="absent")["changed"] is True
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nodes": []}, "at least one node"),
        ({"nodes": [*NODES, NODES[0]]}, "nodes[2].address '192.168.100.10' is that of nodes[0] again"),
        ({"nodes": [{"address": "0.0.0.0"}]}, "nodes[0].address '0.0.0.0' is a wildcard"),
        ({"nodes": [{"address": "spark1", "slots": 0}]}, "nodes[0].slots 0"),
        ({}, "missing: nodes"),
        ({"nodes": NODES, "path": "."}, "is a directory"),
        ({"nodes": NODES, "path": "missing/hostfile"}, "missing' is not there: create it first"),
    ],
    ids=["none", "duplicate", "wildcard", "slots", "no-nodes", "directory", "no-directory"],
)
def test_refuses_before_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture, arguments: dict, message: str) -> None:
    (tmp_path / "hostfile").write_text("old\n")
    path = tmp_path / arguments.pop("path", "hostfile")
    result = run(capsys, path, **arguments)
    assert result["failed"]
    assert message in result["msg"]
    assert (tmp_path / "hostfile").read_text() == "old\n"
    assert len(list(tmp_path.iterdir())) == 1


def test_runs_as_a_program(tmp_path: Path) -> None:
    path = tmp_path / "hostfile"
    done = subprocess.run(
        [sys.executable, "-m", mpi_hostfile.__name__],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {"path": str(path), "nodes": NODES}}),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(mpi_hostfile.__file__).parents[5]), *sys.path])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["changed"] is True
    assert path.read_text() == TEXT


def test_the_first_node_may_be_this_host(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    nodes = [{"address": "spark1"}, {"address": "192-168-1-22", "slots": 2}]
    path = tmp_path / "hostfile"
    run(capsys, path=str(path), nodes=nodes, first_is_here=True)
    assert path.read_text().splitlines()[1:] == ["localhost slots=1", "192-168-1-22 slots=2"]
    said = run(capsys, path=str(path), nodes=[{"address": "slots"}], first_is_here=True)
    assert "nodes[0].address 'slots' is a keyword" in said["msg"]


def as_directory(path: Path) -> None:
    path.mkdir()


def as_dead_link(path: Path) -> None:
    path.symlink_to("nowhere/at/all")


def as_loop(path: Path) -> None:
    path.symlink_to(path.name)


def as_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [as_directory, as_dead_link, as_loop, as_pipe])
@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("check_mode", [True, False])
def test_what_is_no_file_ends_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture, make: Callable[[Path], None], state: str, check_mode: bool
) -> None:
    path = tmp_path / "hostfile"
    make(path)
    result = run(capsys, path, nodes=NODES, state=state, check_mode=check_mode)
    if result.get("failed"):
        assert str(tmp_path) in result["msg"]
        assert "Errno" not in result["msg"]
        assert os.path.lexists(path)
    elif state == "absent":
        assert os.path.lexists(path) == check_mode


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_file_in_the_place_of_the_directory_ends_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture, state: str
) -> None:
    (tmp_path / "file").write_text("")
    result = run(capsys, tmp_path / "file" / "hostfile", nodes=NODES, state=state)
    if state == "present":
        assert "is not there: create it first" in result["msg"]
    else:
        assert not result["changed"]
