# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far downloads, pulls and copies between Sparks are, by the files that these write once a second while they run.

Those of models lie in the directories of users. root reads there what users write: each part of a path is opened by
itself and no link is followed, and what is no small file of the right form is left out.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Iterable, Iterator

from . import engines
from .text import Metrics

SUFFIX = ".progress"
ALSO: list[Path] = []  #: where else caches of models are, as the role was told
#: of images: as the modules image_pull_progress and image_layers_load name them
PULL, COPIES = Path("/run/dgx-spark-image.progress"), Path("/run/dgx-spark-copy")
#: below a home: what brings models into the cache, and what copies files between Sparks
IN_HOME = (".cache/huggingface/.dgx-spark", ".dgx-spark")
#: seconds after which a file is one of a step that was killed: it is written every second
OLD_S = 15.0
LARGEST = 4096  # bytes of such a file
MOST = 20  # files of a directory
LONGEST = 200  # characters of what is brought


def homes(passwd: Path = Path("/etc/passwd")) -> list[Path]:
    """The homes of root and of people, as this host's own file of users tells."""
    try:
        lines = passwd.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    fields = (line.split(":") for line in lines)
    people = (one for one in fields if len(one) == 7 and re.fullmatch(r"0|[0-9]{4,5}", one[2]))
    return sorted({Path(one[5]) for one in people if one[5].startswith("/") and one[5] != "/"})


def opened(path: Path) -> int:
    """A directory, opened part by part without following a link. :raises OSError: also where there is none."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    at = os.open("/", flags)
    for part in path.parts[1:]:
        try:
            inner = os.open(part, flags, dir_fd=at)
        finally:
            os.close(at)
        at = inner
    return at


def texts(folder: Path, now: float) -> Iterator[tuple[str, str]]:
    """The names and texts of the files in a directory that tell the progress of something that runs.

    :param now: seconds since the epoch.
    """
    try:
        at = opened(folder)
    except OSError:
        return
    try:
        with os.scandir(at) as listed:
            names = sorted(one.name for one in listed if one.name.endswith(SUFFIX))[:MOST]
        for name in names:
            with suppress(OSError):  # it ended meanwhile
                yield name, _text(at, name, now)
    finally:
        os.close(at)


def _text(folder: int, name: str, now: float) -> str:
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        about = os.fstat(file)
        good = stat.S_ISREG(about.st_mode) and about.st_size <= LARGEST and abs(now - about.st_mtime) < OLD_S
        return os.read(file, LARGEST).decode(errors="replace") if good else ""
    finally:
        os.close(file)


def collect(
    found: Metrics, folders: Iterable[Path] | None = None, pull: Path = PULL, clock: float | None = None
) -> None:
    """What is on its way to this Spark. Nothing at all where nothing is.

    :param folders: where the files are looked for, if not where the collection's roles write them. :param clock:
        seconds since the epoch, if not now.
    """
    now = time.time() if clock is None else clock
    if folders is None:
        folders = [COPIES, *(home.resolve() / own for home in homes() for own in IN_HOME), *ALSO]
    told = [text for folder in folders for _name, text in texts(folder, now)]
    told += [text for name, text in texts(pull.parent, now) if name == pull.name]
    for text in told:
        _one(found, text)


def _one(found: Metrics, text: str) -> None:
    try:
        about = engines.mapping(json.loads(text))
    except (ValueError, RecursionError):
        return
    what = about.get("what")
    if not isinstance(what, str) or not what.isprintable() or not 0 < len(what) <= LONGEST:
        return
    for name, help_text, key in (
        ("bytes", "Bytes of what is downloaded, pulled or copied to this Spark now.", "bytes"),
        ("there_bytes", "Bytes of it that are there.", "bytes_there"),
        ("began_timestamp_seconds", "When it began, since the epoch.", "began"),
    ):
        found.gauge(f"dgx_spark_transfer_{name}", help_text, about.get(key), what=what)
