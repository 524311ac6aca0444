# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which build of NCCL a process has loaded. Two builds of one version may differ, so size and hash count.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Iterable, TypedDict

LIBRARY = re.compile(r"libnccl(?:-[\w.]+)?\.so[\w.]*$")
VERSION = re.compile(rb"NCCL version (\d+\.\d+[\w.+-]*)")
PIECE = 1 << 22
OVERLAP = 64  # bytes of a piece that are searched again with the next


class Library(TypedDict):
    """A library file."""

    path: str  # in the container
    bytes: int
    sha256: str
    version: str  # as it writes it into its log; empty where it is not found


def paths_in(maps: Iterable[str]) -> list[str]:
    """The NCCL libraries that a process has mapped, from its ``/proc/PID/maps``.

    >>> paths_in(["7f00-7f01 r-xp 00000000 00:2e 42   /usr/lib/libnccl.so.2.28.9", "7f-80 rw-p 0 0 0"])
    ['/usr/lib/libnccl.so.2.28.9']
    >>> paths_in(["7f00-7f01 r-xp 0 00:2e 42   /usr/lib/libnccl-net.so", "1-2 r--p 0 0 0 /a/libnccl.so.2 (deleted)"])
    ['/usr/lib/libnccl-net.so']
    """
    found = []
    for line in maps:
        words = line.rstrip("\n").split(None, 5)
        if len(words) == 6 and LIBRARY.search(words[5]) and words[5] not in found:
            found.append(words[5])
    return found


def is_core(path: str) -> bool:
    """Whether it is NCCL itself, and no plugin of it.

    >>> is_core("/usr/lib/libnccl.so.2"), is_core("/usr/lib/libnccl-net.so")
    (True, False)
    """
    return Path(path).name.startswith("libnccl.so")


def describe(path: str, file: Path) -> Library:
    """Read a library. :param path: what it is called in its container. :raises OSError: where it cannot be read."""
    sha256, size, version, before = hashlib.sha256(), 0, "", b""
    with file.open("rb") as opened:
        while data := opened.read(PIECE):
            sha256.update(data)
            size += len(data)
            if not version and (found := VERSION.search(before + data)):
                version = found[1].decode()
            before = data[-OVERLAP:]
    return {"path": path, "bytes": size, "sha256": sha256.hexdigest(), "version": version}


def of_processes(pids: Iterable[int], proc: Path = Path("/proc")) -> list[Library]:
    """The libraries of some processes, each once. One that ended meanwhile has none."""
    found: dict[str, Library] = {}
    for pid in pids:
        try:
            maps = (proc / str(pid) / "maps").read_text(encoding="utf-8", errors="replace").splitlines()
            for path in filter(is_core, paths_in(maps)):
                if path not in found:
                    found[path] = describe(path, proc / str(pid) / "root" / path.lstrip("/"))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return [found[path] for path in sorted(found)]
