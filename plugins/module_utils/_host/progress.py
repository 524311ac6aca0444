# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is private to the collection: it may change at any time.
"""How far a long step is: written to a file once a second by who does it, read by who follows it."""

from __future__ import annotations

import json
import threading
import time
import typing as t
from contextlib import contextmanager, suppress
from pathlib import Path


def describe(about: t.Mapping[str, t.Any], now: float) -> str:
    """Say it in one line."""
    whole, there, moved = about["bytes"], about["bytes_there"], about["bytes_moved"]
    rate = moved / max(now - about["began"], 0.1)
    words = [about["what"], f"{there / 1e9:.2f} of {whole / 1e9:.2f} GB", f"{rate / 1e9:.2f} GB/s"]
    if moved and there < whole:
        words.append(f"{(whole - there) / rate:.0f} s left")
    return ", ".join(words)


@contextmanager
def written(
    path: Path, what: str, whole: t.Callable[[], int], there: t.Callable[[], int], every: float = 1
) -> t.Iterator[None]:
    """Write how far it is to a file, which goes when it is done.

    :param whole: returns how many bytes it is to be. :param there: returns how many of them are there by now.
    """
    began, first, done = time.time(), there(), threading.Event()

    def tell() -> None:
        now = there()
        about = {"what": what, "bytes": whole(), "bytes_there": now, "bytes_moved": now - first, "began": began}
        draft = path.with_name(f"{path.name}.new")
        with suppress(OSError):  # a full disk is told of by who writes the data
            draft.write_text(json.dumps(about), encoding="utf-8")
            draft.replace(path)

    def keep_telling() -> None:
        while not done.wait(every):
            tell()

    tell()
    teller = threading.Thread(target=keep_telling, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
        for name in (path, path.with_name(f"{path.name}.new")):
            with suppress(OSError):
                name.unlink()
