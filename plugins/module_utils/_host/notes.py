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
from typing import Any, Callable

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import (
    FileError,
    make_directories,
    write_atomically,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import cause

ROOT = "/var/lib/dgx-spark"


def read_note(path: str, default: Any, fits: Callable[[Any], bool] = lambda _one: True) -> Any:
    """Return what a note says, the default where there is none.

    :param default: also what kind of value it is, a list or a mapping.
    :param fits: whether one of its values is as it was written.
    :raises FileError: where there is something else.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except OSError as error:
        raise FileError(_unreadable(path, error.strerror or str(error))) from None
    except (RecursionError, ValueError) as error:
        raise FileError(_unreadable(path, cause(error))) from None
    values = value.values() if isinstance(value, dict) else value
    if default is not None and not (isinstance(value, type(default)) and all(map(fits, values))):
        raise FileError(_unreadable(path, f"it holds {json.dumps(value)[:40]}"))
    return value


def is_text_list(value: Any) -> bool:
    """Whether a value is a list of strings."""
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _unreadable(path: str, why: str) -> str:
    return (
        f"{path}, by which this collection knows what it did on this host, cannot be read ({why}). Nothing was "
        "changed. Restore it from a backup, or remove it: what it was about is then to be undone by hand"
    )


def write_note(path: str, value: Any) -> None:
    """Write a note that only root can read, and the directory that it lies in."""
    make_directories(Path(path).parent, 0o755)
    write_atomically(Path(path), (json.dumps(value, indent=2) + "\n").encode(), 0o600)


def remove_note(path: str) -> None:
    """Remove a note, and the directory that it lay in where nothing else lies there."""
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()
    with contextlib.suppress(OSError):  # other notes lie there
        Path(path).parent.rmdir()
