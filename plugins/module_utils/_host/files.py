# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replace a file in one step, so that no reader ever sees a part of it.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


_LOOK = "see what is in its place, and whether the filesystem is full or read-only ('df -h', 'mount')"


class FileError(ValueError):
    """A file cannot be read or written. The message names the path and the mend."""


class WriteError(FileError, OSError):
    """The disk or its permissions do not let a file be written."""


def write_atomically(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Replace a file by one with this content, mode, and owner (user and group ID; None for the current user).

    :raises FileError: where the directory is missing, or the disk or the permissions do not let it be written.
    """
    try:
        temporary = _stage(path, content)
        try:
            with temporary.open("rb") as stream:
                found = os.fstat(stream.fileno())
                if owner is not None and owner != (found.st_uid, found.st_gid):
                    os.fchown(stream.fileno(), *owner)
                os.fchmod(stream.fileno(), mode)  # after the owner, since a new owner takes setuid bits away
            temporary.replace(path)
        except BaseException:
            temporary.unlink()
            raise
    except OSError as error:
        raise WriteError(f"{str(path)!r} cannot be written ({_why(error)}), and is as it was: {_LOOK}") from None


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def write(module: AnsibleModule, path: Path, content: str, unsafe_writes: bool = False) -> None:
    """Replace a file as Ansible's modules do: mode, owner and SELinux context of an existing file are kept."""
    try:
        temporary = _stage(path, content.encode())
    except FileError as error:
        module.fail_json(msg=str(error))
    module.add_cleanup_file(str(temporary))
    module.atomic_move(str(temporary), str(path), unsafe_writes=unsafe_writes)


def _stage(path: Path, content: bytes) -> Path:
    """Write the content to disk beside the file, under a name that starts with a dot, and return that path.

    A caller that follows links may have been led to a device: /dev/null by a file that is masked.
    """
    if not path.parent.is_dir():
        raise FileError(f"directory {str(path.parent)!r} is not there: create it first")
    if not path.is_symlink() and (path.is_char_device() or path.is_block_device()):
        raise FileError(f"{str(path)!r} is a device, and is left as it is: take away the link that leads there")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        Path(temporary).unlink()
        raise
    return Path(temporary)


def replace_text(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file of this user's own by UTF-8 text.

    :raises FileError: where the directory is missing.
    """
    write_atomically(path, text.encode(), mode)


def make_directories(folder: Path, mode: int) -> None:
    """Create a directory with its parents, unless it is there.

    :raises WriteError: where something else is in its place, or the disk does not let it be made.
    """
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"directory {str(folder)!r} cannot be made ({_why(error)}): {_LOOK}") from None


def make_private_directory(folder: Path) -> Path:
    """Create a directory that its owner alone may enter, with its parents as they usually are, and return it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
