# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files on the controller that hold the keys of clients, and what they are to trust.

This plugin util is private to the collection.
"""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import make_private_directory

#: the certificate of a gateway's authority
AUTHORITY = "ca.crt"
#: what the file of a key ends with
SUFFIX = ".key"


def folder(path: Path) -> None:
    """Make the directory of the keys, for this user alone."""
    make_private_directory(path)
    if path.stat().st_uid == os.geteuid():
        path.chmod(0o700)


def kept(path: Path, name: str) -> list[Path]:
    """Return the files of a client, or without a name all that the collection keeps in a directory."""
    patterns = [f"{name}{SUFFIX}"] if name else [f"*{SUFFIX}", AUTHORITY]
    return sorted(one for pattern in patterns for one in path.glob(pattern) if one.is_file())
