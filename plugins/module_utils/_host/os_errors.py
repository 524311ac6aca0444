# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an error of the operating system means to a person: the path, the cause and the mend.

This module util is private to the collection.
"""

from __future__ import annotations

import errno
import os
import pwd
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)
_MENDS = {
    errno.EISDIR: "is a directory where a file belongs: move it away",
    errno.ENOTDIR: "is not what it should be, a directory or what lies in one: move away what is in its place",
    errno.EEXIST: "is in the place of a directory: move it away",
    errno.ENOTEMPTY: "holds something else, and cannot be removed: see what is there",
    errno.EROFS: "is on a disk that is mounted read-only: see dmesg for why, and mount it to be written",
    errno.EIO: "cannot be read or written, since its disk fails: see dmesg",
    errno.ESTALE: "is of a network file system that its server has changed: mount it again",
    errno.ELOOP: "leads from link to link without end: remove the link",
    errno.ENAMETOOLONG: "is too long a name for this file system: choose a shorter one",
}


def sentence(error: OSError) -> str:
    """Return the path, the cause and the mend; the system's own words where it names no path.

    >>> sentence(IsADirectoryError(errno.EISDIR, "Is a directory", "/etc"))
    '/etc is a directory where a file belongs: move it away'
    """
    path = error.filename
    if not isinstance(path, (str, bytes)) or not error.strerror:
        return str(error)
    path = os.fsdecode(path)
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{path} may not be read or changed by {_me()}: run the task as its owner or as root (become)"
    if error.errno in _FULL:
        return f"the disk or the quota that {path} counts to is full: make room"
    if error.errno in (errno.ENOENT, errno.EEXIST) and Path(path).is_symlink() and not Path(path).exists():
        return f"{path} is a link to {os.readlink(path)}, which is not there: mount its disk, or remove the link"
    if error.errno == errno.ENOENT:
        return f"{path} is not there: it may have been removed just now; run this again"
    return f"{path} {_MENDS[error.errno]}" if error.errno in _MENDS else f"{path}: {error.strerror}"


def told(error: Exception) -> str:
    """Return any error's message; of the system's errors the :func:`sentence`."""
    return sentence(error) if isinstance(error, OSError) else str(error)


def _me() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
