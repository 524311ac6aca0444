# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are named by the hash of their content, as a Hugging Face cache and a copy between Sparks keep them.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

_GIT = "sha1"  # git's choice, not ours
_PIECE = 4 << 20


class HashedFile(NamedTuple):
    """One file with its size in bytes. It has a SHA-256 or, where the Hugging Face hub keeps it in git, git's SHA-1."""

    path: str
    size: int
    sha256: str | None = None
    git_sha1: str | None = None

    @property
    def blob(self) -> str:
        """Its hash, which is its file name in the directory that holds it."""
        return self.sha256 or self.git_sha1 or ""


#: of a module: files, each with its SHA-256, which is its name
FILES_OPTION = {
    "type": "list",
    "elements": "dict",
    "required": True,
    "options": {
        "path": {"type": "str", "required": True},
        "size": {"type": "int", "required": True},
        "sha256": {"type": "str", "required": True},
    },
}


def new_hash(file: HashedFile) -> Any:
    """Return a hash object of the kind that the file is named by, to be updated with the file's content."""
    if file.sha256:
        return hashlib.sha256()
    digest = hashlib.new(_GIT)
    digest.update(f"blob {file.size}\0".encode())
    return digest


def hash_file(path: Path, file: HashedFile) -> str:
    """Return the hash of a file's content, of the kind that ``file`` is named by.

    :raises OSError: when the file cannot be read.
    """
    digest, piece = new_hash(file), memoryview(bytearray(_PIECE))
    with path.open("rb", buffering=0) as stream:
        while True:
            count = stream.readinto(piece) or 0
            if not count:
                break
            digest.update(piece[:count])
    release_pages(path)
    return str(digest.hexdigest())


def release_pages(path: Path) -> None:
    """Release the memory that holds a file's pages: on a Spark that memory is the GPU's too."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fdatasync(file)  # only pages that are on disk can be released
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        pass  # no harm is done: the kernel takes the memory when it needs it
    finally:
        os.close(file)
