# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of one directory, each named by its SHA-256: which of them are there, and which are right.

This module util is private to the collection.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile, hash_file

PARTIAL = ".dgx-spark-partial"


def from_rows(rows: Iterable[Mapping[str, Any]]) -> list[HashedFile]:
    """Return the files that a module's option of the type FILES_OPTION names."""
    return [HashedFile(row["path"], row["size"], row["sha256"]) for row in rows]


def problems(folder: Path, files: Iterable[HashedFile], read: bool) -> dict[str, str]:
    """Return what is wrong with each file that is not right, by path; a file got its name when its hash was right.

    :param read: whether the content is hashed too.
    :raises OSError: when a file cannot be read.
    """
    found = {}
    for file in files:
        path = folder / file.blob
        if not path.is_file() or path.is_symlink():
            found[file.path] = "is missing"
        elif path.stat().st_size != file.size:
            found[file.path] = f"has {path.stat().st_size} bytes instead of {file.size}"
        elif read:
            digest = hash_file(path, file)
            if digest != file.blob:
                found[file.path] = f"its sha256 is {digest} instead of {file.blob}"
    return found
