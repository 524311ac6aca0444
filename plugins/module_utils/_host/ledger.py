# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger of original files: what a file was before its first change, to be put back byte for byte.

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import quote

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import (
    FileError,
    make_directories,
    write_atomically,
)

ROOT = "/var/lib/dgx-spark/originals"
ABSENT = "absent"  # the digest of a file that is not there


OriginalError = FileError  # an original that cannot be kept or put back


@dataclass(frozen=True)
class Record:
    """What is known of a file's original; the content, if it had any, lies beside the record."""

    path: str
    digest: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    written: str | None = None  # digest of our last write
    foreign: bool = False  # others changed the file between two writes of ours
    previous: str | None = None  # digest of what our last write replaced


def digest_of(content: bytes | None) -> str:
    """Return the digest of a file's content, None for a file that is not there."""
    return ABSENT if content is None else f"sha256:{hashlib.sha256(content).hexdigest()}"


def read_file(path: Path) -> bytes | None:
    """Return the content of a file, None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise OriginalError(f"path {str(path)!r} is a directory: give the path of a file") from None
    except PermissionError:
        raise OriginalError(f"path {str(path)!r} may not be read: run the task as root (become)") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise OriginalError(f"path {str(path)!r} cannot be read ({why}): put the file itself there") from None


class Originals:
    """The originals kept on this host, one for each path."""

    def __init__(self, root: str | None = None) -> None:
        self.root = Path(root or ROOT)

    def content_path(self, path: str) -> Path:
        """Return where the content of a file's original is kept."""
        return self.root / quote(_real(path), safe="")

    def _record_path(self, path: str) -> Path:
        return self.content_path(path).with_name(f"{self.content_path(path).name}.json")

    def _previous_path(self, path: str) -> Path:
        return self.content_path(path).with_name(f"{self.content_path(path).name}.previous")

    def record(self, path: str) -> Record | None:
        """Return what is kept of a file, None if nothing is."""
        try:
            record = Record(**json.loads(self._record_path(path).read_text(encoding="utf-8")))
            _check(record)
            return record
        except FileNotFoundError:
            return None
        except (OSError, RecursionError, TypeError, ValueError) as exc:
            raise OriginalError(f"{self._record_path(path)} cannot be read ({exc}): restore it from a backup") from None

    def keep(self, path: str) -> Record:
        """Keep the file as it is now, unless an original of it is kept already."""
        known = self.record(path)
        if known is not None:
            return known
        file = Path(_real(path))
        content = read_file(file)
        record = Record(str(file), digest_of(content))
        make_directories(self.root, 0o700)
        if content is not None:
            found = file.stat()
            record = replace(record, mode=found.st_mode & 0o7777, uid=found.st_uid, gid=found.st_gid)
            write_atomically(self.content_path(path), content, 0o600)
        self._store(record)  # last: a record means that all of it is kept
        return record

    def change(self, path: str, content: bytes) -> None:
        """Write a file, mode and owner kept, so that it can go back to what it was, and to its original.

        What it was before counts from the last :meth:`settle`: several roles may write before one restart.
        """
        record = self.keep(path)
        file = Path(record.path)
        before = read_file(file)
        if record.previous is None:
            if before is not None:
                write_atomically(self._previous_path(path), before, 0o600)
            self._store(replace(record, previous=digest_of(before)))
        make_directories(file.parent, 0o755)
        found = None if before is None else file.stat()
        mode = 0o644 if found is None else found.st_mode & 0o7777
        write_atomically(file, content, mode, None if found is None else (found.st_uid, found.st_gid))
        self.note_written(path, digest_of(before))

    def settle(self, path: str) -> None:
        """Take the file as it is now for what :meth:`revert` is to put back, once a program runs with it."""
        record = self.record(path)
        if record is None or record.previous is None:
            return
        self._store(replace(record, previous=None))
        with contextlib.suppress(FileNotFoundError):
            self._previous_path(path).unlink()

    def revert(self, path: str) -> None:
        """Put back what our writes since the last :meth:`settle` replaced."""
        record = self.record(path)
        if record is None or record.previous is None:
            raise OriginalError(f"{path} was not changed here, so there is nothing to go back to")
        if self.problem(path):
            raise OriginalError(f"{path} was changed by another program or person since: correct it by hand")
        file = Path(record.path)
        if record.previous == ABSENT:
            file.unlink()
        else:
            content = read_file(self._previous_path(path))
            if content is None or digest_of(content) != record.previous:
                raise OriginalError(f"{self._previous_path(path)} is not what was kept there: mend {path} by hand")
            found = file.stat()
            write_atomically(file, content, found.st_mode & 0o7777, (found.st_uid, found.st_gid))
        self._store(replace(record, written=record.previous, previous=None))
        if self.is_restored(path):
            self.restore(path)  # forget it: there is nothing of ours left

    def note_written(self, path: str, before: str) -> None:
        """Note that the file, whose digest was ``before``, has been written by us."""
        record = self.record(path)
        if record is None:
            return
        now = digest_of(read_file(Path(record.path)))
        expected = (record.digest, record.written)
        self._store(replace(record, written=now, foreign=record.foreign or before not in expected))

    def note_foreign(self, path: str) -> None:
        """Record whether others have changed the file since our last write."""
        record = self.record(path)
        if record is None or record.written is None:
            return
        now = digest_of(read_file(Path(record.path)))
        if now not in (record.written, record.digest):
            self._store(replace(record, foreign=True))

    def problem(self, path: str) -> str | None:
        """Return why the original must not be put back without force, None where it may be."""
        record = self.record(path)
        if record is None:
            return None
        now = digest_of(read_file(Path(record.path)))
        if now == record.digest:
            return None
        if not record.foreign and record.written in (None, now):
            return None
        original = "there was no such file" if record.digest == ABSENT else f"it is kept as {self.content_path(path)}"
        return (
            f"{record.path} was changed by another program or person since this collection last wrote it, and the "
            f"original does not have that change ({original}): correct it by hand, or force the original back"
        )

    def is_restored(self, path: str) -> bool:
        """Whether the file is what its original was, in content, mode and owner."""
        record = self.record(path)
        if record is None:
            return True
        file = Path(record.path)
        if digest_of(read_file(file)) != record.digest:
            return False
        if record.digest == ABSENT:
            return True
        found = file.stat()
        return (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (record.mode, record.uid, record.gid)

    def original_content(self, path: str) -> bytes | None:
        """Return the content of the original, None if there was no file."""
        record = self.record(path)
        if record is None or record.digest == ABSENT:
            return None
        content = read_file(self.content_path(path))
        if digest_of(content) != record.digest:
            raise OriginalError(f"{self.content_path(path)} is not what was kept there: restore it from a backup")
        return content

    def restore(self, path: str) -> None:
        """Put the original back and forget it, so that the next first change keeps a new one."""
        record = self.record(path)
        if record is None:
            return
        file, content = Path(record.path), self.original_content(path)
        if not self.is_restored(path):
            if content is None:
                file.unlink()
            else:
                write_atomically(file, content, record.mode, (record.uid, record.gid))
        self.forget(path)

    def forget(self, path: str) -> None:
        """Forget the original, and leave the file as it is."""
        for kept in (self._record_path(path), self._previous_path(path), self.content_path(path)):
            with contextlib.suppress(FileNotFoundError):
                kept.unlink()
        for directory in (self.root, self.root.parent):
            with contextlib.suppress(OSError):  # others keep something there
                directory.rmdir()

    def _store(self, record: Record) -> None:
        text = json.dumps(asdict(record), indent=2) + "\n"
        write_atomically(self._record_path(record.path), text.encode(), 0o600)


def _check(record: Record) -> None:
    numbers = (record.mode, record.uid, record.gid)
    words = (record.path, record.digest, record.written or "", record.previous or "")
    if not all(isinstance(one, int) for one in numbers) or not all(isinstance(one, str) for one in words):
        raise ValueError("a value is of another kind than it was written with")


def _real(path: str) -> str:
    return os.path.realpath(path)
