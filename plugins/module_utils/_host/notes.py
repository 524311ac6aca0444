# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small JSON files below ``/var/lib/dgx-spark`` that tell an undo what this collection did on the host.

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import write_atomically

ROOT = "/var/lib/dgx-spark"


def read_note(path: str, default: Any) -> Any:
    """Return what a note says, the default where there is none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default


def write_note(path: str, value: Any) -> None:
    """Write a note that only root can read, and the directory that it lies in."""
    Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_atomically(Path(path), (json.dumps(value, indent=2) + "\n").encode(), 0o600)


def remove_note(path: str) -> None:
    """Remove a note, and the directory that it lay in where nothing else lies there."""
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()
    with contextlib.suppress(OSError):  # other notes lie there
        Path(path).parent.rmdir()
