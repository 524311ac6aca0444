# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file is replaced as a whole or not at all, and nothing is left beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import files


def test_replaces_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    files.write_atomically(path, b"after\xff", 0o640, (os.geteuid(), os.getegid()))
    assert (path.read_bytes(), path.stat().st_mode & 0o7777) == (b"after\xff", 0o640)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("what", ["fchmod", "fsync"])
def test_a_failure_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def fail(*_arguments: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(files.os, what, fail)
    with pytest.raises(OSError, match="no space left"):
        files.write_atomically(path, b"after", 0o600)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(files.FileError, match=r"directory '.*missing' is not there: create it first"):
        files.write_atomically(tmp_path / "missing" / "file", b"", 0o600)


def test_what_cannot_be_written_is_named_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(files.FileError, match=r"below' cannot be made \(Not a directory\): see what is in its"):
        files.make_directories(tmp_path / "file" / "below", 0o755)
    (tmp_path / "directory").mkdir()
    with pytest.raises(files.WriteError, match=r"directory' cannot be written \(Is a directory\), and is as it was"):
        files.write_atomically(tmp_path / "directory", b"x", 0o600)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "file"]


def test_a_device_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A masked file is a link to /dev/null, and a caller that follows links would put a file into its place."""
    device, link = tmp_path / "null", tmp_path / "link"
    device.touch()
    link.symlink_to(device)
    monkeypatch.setattr(Path, "is_char_device", lambda path: path.name in ("null", "link"))
    with pytest.raises(files.FileError, match=r"'.*null' is a device, and is left as it is"):
        files.write_atomically(device, b"after", 0o600)
    assert device.read_bytes() == b""
    files.write_atomically(link, b"after", 0o600)  # the link's own place, as ever
    assert (device.read_bytes(), link.read_bytes()) == (b"", b"after")
