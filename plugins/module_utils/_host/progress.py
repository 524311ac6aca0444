# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a long step is: the step writes it to a file once a second, where the play that follows the step reads it.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

#: of the pull of an image, of which a host makes one at a time
PULL = "/run/dgx-spark-image.progress"


def describe(about: Mapping[str, Any], now: float) -> str:
    """Return the progress as one line.

    :param now: seconds since the epoch.
    """
    whole, there, moved = about["bytes"], about["bytes_there"], about["bytes_moved"]
    rate = moved / max(now - about["began"], 0.1)
    words = [about["what"], f"{there / 1e9:.2f} of {whole / 1e9:.2f} GB", f"{rate / 1e9:.2f} GB/s"]
    if moved and there < whole:
        words.append(f"{(whole - there) / rate:.0f} s left")
    return ", ".join(words)


@contextmanager
def written(
    path: Path, what: str, whole: Callable[[], int], there: Callable[[], int], every: float = 1
) -> Iterator[None]:
    """Write the progress of what runs in this context to a file, which goes at the end.

    :param whole: returns how many bytes there are to be. :param there: returns how many of them are there by now.
    :param every: seconds between two writes.
    """
    began, first, done = time.time(), there(), threading.Event()

    def write() -> None:
        now = there()
        about = {"what": what, "bytes": whole(), "bytes_there": now, "bytes_moved": now - first, "began": began}
        draft = path.with_name(f"{path.name}.new")
        with suppress(OSError):  # the step itself reports a full disk
            draft.write_text(json.dumps(about), encoding="utf-8")
            draft.replace(path)

    def keep_writing() -> None:
        while not done.wait(every):
            write()

    write()
    writer = threading.Thread(target=keep_writing, daemon=True)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()
        for name in (path, path.with_name(f"{path.name}.new")):
            with suppress(OSError):
                name.unlink()
