# SIMULATED: how a virtual Spark lays its hardware over the real /sys.
"""mount(2) without starting a program for each."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_SHARED = 32, 4096, 16384, 1 << 20
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def _mount(source: str, target: Path, kind: str | None, flags: int, data: str | None = None) -> None:
    def raw(text: str | None) -> bytes | None:
        return None if text is None else os.fsencode(text)

    if _libc.mount(raw(source), os.fsencode(target), raw(kind), ctypes.c_ulong(flags), raw(data)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def bind(source: Path | str, target: Path, read_only: bool = False) -> None:
    _mount(str(source), target, None, MS_BIND)
    if read_only:
        _mount("none", target, None, MS_BIND | MS_REMOUNT | MS_RDONLY)


def overlay(layers: list[Path], target: Path) -> None:
    """A read-only union, first layer on top. Right only for what does not come and go below it:
    overlayfs remembers that a name was missing, and sysfs does not tell it when that changes."""
    _mount("overlay", target, "overlay", MS_RDONLY, "lowerdir=" + ":".join(map(str, layers)))


def remount_writable(target: Path, bound: bool = False) -> None:
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | (MS_BIND if bound else 0)
    _mount("none", target, None, MS_REMOUNT | flags)


def share(target: Path) -> None:
    _mount("none", target, None, MS_SHARED | MS_REC)


def unmount(target: Path) -> None:
    if _libc.umount2(os.fsencode(target), MNT_DETACH):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def is_bound(source: Path, target: Path) -> bool:
    """Whether ``target`` is ``source`` bound there (the same inode of the same file system)."""
    try:
        return source.samefile(target)
    except OSError:
        return False
