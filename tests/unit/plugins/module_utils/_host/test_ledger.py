# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first original is kept, comes back byte for byte, and never over somebody else's change."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import write_atomically
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ledger import (
    OriginalError,
    Originals,
    digest_of,
    read_file,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FIRST, OURS, THEIRS = b"first\n\xff", b"ours\n", b"theirs\n"


@pytest.fixture
def originals(tmp_path: Path) -> Originals:
    return Originals(str(tmp_path / "var" / "originals"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "daemon.json"


def change(originals: Originals, path: Path, content: bytes) -> None:
    """Change a file as a module of ours does."""
    before = digest_of(read_file(path))
    originals.keep(str(path))
    write_atomically(path, content, 0o644)
    originals.note_written(str(path), before)


def test_comes_back_with_mode(originals: Originals, path: Path) -> None:
    path.write_bytes(FIRST)
    path.chmod(0o640)
    change(originals, path, OURS)
    change(originals, path, OURS * 2)
    assert originals.content_path(str(path)).stat().st_mode & 0o777 == 0o600
    assert originals.root.stat().st_mode & 0o777 == 0o700
    assert originals.problem(str(path)) is None
    originals.restore(str(path))
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (FIRST, 0o640)
    assert originals.record(str(path)) is None
    assert not originals.root.exists()


def test_no_file_comes_back_as_none(originals: Originals, path: Path) -> None:
    change(originals, path, OURS)
    assert not originals.is_restored(str(path))
    originals.restore(str(path))
    assert not path.exists()
    originals.restore(str(path))  # nothing kept, nothing done


def test_the_first_original_stays(originals: Originals, path: Path) -> None:
    path.write_bytes(FIRST)
    first = originals.keep(str(path))
    path.write_bytes(OURS)
    assert originals.keep(str(path)) == first
    assert originals.original_content(str(path)) == FIRST


@pytest.mark.parametrize("when", ["after", "between"])
def test_somebody_elses_change_is_objected_to(originals: Originals, path: Path, when: str) -> None:
    path.write_bytes(FIRST)
    change(originals, path, OURS)
    path.write_bytes(THEIRS)
    if when == "between":
        change(originals, path, OURS)
    assert "changed by another program or person" in (originals.problem(str(path)) or "")


def test_somebody_else_may_put_the_original_back(originals: Originals, path: Path) -> None:
    path.write_bytes(FIRST)
    change(originals, path, OURS)
    path.write_bytes(FIRST)
    assert originals.problem(str(path)) is None


def test_a_link_is_followed(originals: Originals, path: Path, tmp_path: Path) -> None:
    path.write_bytes(FIRST)
    link = tmp_path / "link"
    link.symlink_to(path)
    originals.keep(str(link))
    path.write_bytes(OURS)
    originals.restore(str(link))
    assert (path.read_bytes(), link.is_symlink()) == (FIRST, True)


def test_refuses_what_is_no_file_or_no_original(originals: Originals, path: Path, tmp_path: Path) -> None:
    with pytest.raises(OriginalError, match="is a directory"):
        originals.keep(str(tmp_path))
    path.write_bytes(FIRST)
    originals.keep(str(path))
    originals.content_path(str(path)).write_bytes(THEIRS)
    with pytest.raises(OriginalError, match="is not what was kept"):
        originals.original_content(str(path))
    originals.content_path(str(path)).with_name(f"{originals.content_path(str(path)).name}.json").write_text("{")
    with pytest.raises(OriginalError, match="cannot be read"):
        originals.record(str(path))


def test_refuses_to_write_where_no_directory_is(tmp_path: Path) -> None:
    with pytest.raises(OriginalError, match="create it first"):
        write_atomically(tmp_path / "missing" / "file", b"", 0o644)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.none() | st.binary(max_size=20), st.lists(st.binary(max_size=20), max_size=3))
def test_whatever_was_written_the_original_comes_back(
    originals: Originals, path: Path, first: bytes | None, later: list[bytes]
) -> None:
    path.unlink(missing_ok=True)
    if first is not None:
        path.write_bytes(first)
    for content in later:
        change(originals, path, content)
    assert originals.problem(str(path)) is None
    originals.restore(str(path))
    assert read_file(path) == first


def test_goes_back_to_what_the_last_write_replaced(originals: Originals, path: Path) -> None:
    path.write_bytes(FIRST)
    path.chmod(0o640)
    originals.change(str(path), OURS)
    originals.settle(str(path))  # a program runs with that
    originals.change(str(path), OURS * 2)
    originals.change(str(path), OURS * 3)
    originals.revert(str(path))
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (OURS, 0o640)
    assert originals.problem(str(path)) is None
    with pytest.raises(OriginalError, match="nothing to go back to"):
        originals.revert(str(path))
    originals.restore(str(path))
    assert (path.read_bytes(), originals.root.exists()) == (FIRST, False)


@pytest.mark.parametrize("first", [FIRST, None])
def test_going_back_to_the_original_forgets_it(originals: Originals, path: Path, first: bytes | None) -> None:
    if first is not None:
        path.write_bytes(first)
    originals.change(str(path), OURS)
    originals.revert(str(path))
    assert read_file(path) == first
    assert (originals.record(str(path)), originals.root.exists()) == (None, False)


def test_does_not_go_back_over_somebody_elses_change(originals: Originals, path: Path) -> None:
    originals.change(str(path), OURS)
    path.write_bytes(THEIRS)
    with pytest.raises(OriginalError, match="changed by another program or person"):
        originals.revert(str(path))
    assert path.read_bytes() == THEIRS


def test_a_file_that_may_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    def refuse(_path: Path) -> bytes:
        raise PermissionError

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(OriginalError, match=r"may not be read: run the task as root \(become\)"):
        read_file(path)
