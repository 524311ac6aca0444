# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is private to the collection: it may change at any time.
"""Replace a file in one step, as modules do with Ansible's care for modes, owners and SELinux, or by plain means."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def write(module: AnsibleModule, path: Path, content: str, unsafe_writes: bool = False) -> None:
    """Write UTF-8 beside the file, and move it there."""
    if not path.parent.is_dir():
        module.fail_json(msg=f"directory {str(path.parent)!r} is not there: create it first")
    # In the same directory, so that the move is a rename; with a dot and no suffix, so that nobody reads it there.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    module.add_cleanup_file(temporary)
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
        stream.write(content)
    module.atomic_move(temporary, str(path), unsafe_writes=unsafe_writes)


def replace_text(path: Path, text: str, mode: int = 0o600) -> None:
    """Write UTF-8 to a file of this user's own in one step.

    :raises OSError: when the file cannot be written; it then is as it was.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def make_own(folder: Path) -> Path:
    """Create a directory that its owner alone may enter, with its parents as they usually are, and return it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
