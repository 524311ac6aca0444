# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model gets its name, with the rights of the cache's owner and no more."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.modules import hf_cache_ref

NOBODY = 65534
COMMIT = "6cee5e81ee83917806bbde320786a8fb61efebee"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that any user comes to: those of tmp_path are root's alone."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


def run(capsys: pytest.CaptureFixture[str], path: Path, owner: int, check: bool = False) -> dict[str, Any]:
    asked = {"path": str(path), "commit": COMMIT, "uid": owner, "gid": owner, "_ansible_check_mode": check}
    with patch_module_args(asked), pytest.raises(SystemExit):
        hf_cache_ref.main()
    return json.loads(capsys.readouterr().out)


def test_a_name_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "refs" / "main"
    assert run(capsys, path, os.getuid(), check=True)["changed"]
    assert not path.parent.exists()
    assert run(capsys, path, os.getuid())["changed"]
    assert path.read_text() == COMMIT
    assert path.stat().st_mode & 0o777 == 0o644
    assert not run(capsys, path, os.getuid())["changed"]
    path.write_text("another")
    assert not run(capsys, path, os.getuid())["changed"], "what is there stays"


@as_root
def test_it_is_the_owners(reachable: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.chown(reachable, NOBODY, NOBODY)
    path = reachable / "refs" / "main"
    assert run(capsys, path, NOBODY)["changed"]
    assert {(one.stat().st_uid, one.stat().st_gid) for one in (path, path.parent)} == {(NOBODY, NOBODY)}
    assert os.geteuid() == 0, "and the rights are root's again"


@as_root
def test_a_link_leads_nowhere_that_the_owner_could_not_write_to(
    reachable: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private, model = reachable / "private", reachable / "model"
    private.mkdir(mode=0o755)
    model.mkdir()
    os.chown(model, NOBODY, NOBODY)
    (model / "refs").symlink_to(private)
    failed = run(capsys, model / "refs" / "main", NOBODY)
    assert failed["failed"]
    assert str(model / "refs") in failed["msg"]
    assert os.geteuid() == 0
    assert list(private.iterdir()) == []
    assert private.stat().st_uid == 0
