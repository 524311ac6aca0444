# SIMULATED: writes a virtual Spark's sysfs-like files.
"""A directory of small read-only files that is rewritten only where it changed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_file(path: Path, content: bytes, mode: int = 0o444) -> None:
    """Replace a file at once: a reader sees the old or the new content, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.fchmod(fd, mode)
        os.write(fd, content)
    finally:
        os.close(fd)
    draft.replace(path)


def rewrite_file(path: Path, content: bytes) -> None:
    """Change a file in place, for one that is bind-mounted elsewhere and must stay the same inode.

    A shorter text is first padded with newlines, so that no reader gets digits of the old one after it.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o444)
    try:
        size = os.fstat(fd).st_size
        if os.pread(fd, size + 1, 0) != content:
            os.pwrite(fd, content.ljust(size, b"\n"), 0)
            os.ftruncate(fd, len(content))
    finally:
        os.close(fd)


def link(path: Path, target: Path | str) -> None:
    """Make ``path`` a symbolic link to ``target``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not (path.is_symlink() and os.readlink(path) == str(target)):
        path.unlink(missing_ok=True)
        path.symlink_to(target)


class Tree:
    """Files below one directory, of which some come, change and go."""

    def __init__(self, root: Path, base: dict[str, str]) -> None:
        self.root = root
        self.base = base  # what a file says when nothing else is wanted of it
        self._written: dict[str, str] = {}

    def create(self) -> None:
        """Write all that does not change. Called once, at boot."""
        for name, text in self.base.items():
            write_file(self.root / name, f"{text}\n".encode())

    def load(self) -> None:
        """Learn what an earlier process left, so that what is no longer true goes away."""
        for path in self.root.rglob("*"):
            name = str(path.relative_to(self.root))
            if path.is_file() and not path.is_symlink():
                text = path.read_text().rstrip("\n")
                if self.base.get(name) != text:
                    self._written[name] = text

    def update(self, wanted: dict[str, str]) -> int:
        """Make the changing files say ``wanted``; returns how many were touched."""
        touched = 0
        for name in self._written.keys() - wanted.keys():
            if name in self.base:
                write_file(self.root / name, f"{self.base[name]}\n".encode())
            else:
                (self.root / name).unlink(missing_ok=True)
            touched += 1
        for name, text in wanted.items():
            if self._written.get(name) != text:
                write_file(self.root / name, f"{text}\n".encode())
                touched += 1
        self._written = dict(wanted)
        return touched
