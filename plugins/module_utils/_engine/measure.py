# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that has a client measure the engine beside it, in one call after the other, and says how far that is.

    python3 measure.py DIRECTORY

``measure.json`` in DIRECTORY says what to call (:class:`Order`). ``result.json`` there says how far it is
(:class:`Progress`), ``client.log`` gets what the client says, and what it writes there as ``NAME.json`` becomes
``NAME.json.gz``. Where there is a ``key``, the client gets it by its environment alone, and the file is removed.

It runs beside the engine, in the engine's image, so it is one file, of the standard library alone.
This module util is private to the collection.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO, Mapping, TypedDict

ORDER, RESULT, LOG, KEY = "measure.json", "result.json", "client.log", "key"
KEY_VARIABLE = "OPENAI_API_KEY"
#: which Docker may give to a container, and the client heeds: its requests are to this host alone
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
MOST_LOG = 1 << 20  # bytes of a call's log that are kept
EVERY = 0.5  # seconds between two looks at how far it is
BAR = re.compile(rb"(\d+)/(\d+) \[")  #: of tqdm's progress bar, which is without an end of its line until it is full
#: the engine's libraries want those of a driver, which a container without a GPU has not from the host
SHELL = (
    'export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/cuda/compat/lib.real:'
    '/usr/local/cuda/compat"; exec "$@"'
)


class Call(TypedDict):
    """One call of the client."""

    name: str
    argv: list[str]
    seconds: int  # after which it is ended
    requests: int  # that it sends


class Order(TypedDict):
    """What is to be called, until one fails."""

    calls: list[Call]


class Progress(TypedDict):
    """How far it is."""

    name: str  # of the call
    came: int  # requests
    requests: int


def came(said: bytes, requests: int) -> int:
    """How many requests have come, by the last progress bar of so many in what was said; 0 where there is none.

    >>> came(b"Benchmarking:  30%|###   | 3/10 [00:01<00:02]\\rBenchmarking:  40%|####  | 4/10 [00:0", 10)
    4
    >>> came(b"Loading: 3/4 [00:01<00:00]", 10)
    0
    """
    return next((int(now) for now, most in reversed(BAR.findall(said)) if int(most) == requests), 0)


def command(call: Call) -> list[str]:
    """The command line of a call: ended after its time, by force where that does not do."""
    return ["timeout", "--kill-after=10", str(call["seconds"]), "bash", "-c", SHELL, "--", *call["argv"]]


def environment(folder: Path, base: Mapping[str, str]) -> dict[str, str]:
    """The client's environment. The file of the key is gone afterwards."""
    made = {name: value for name, value in base.items() if name != KEY_VARIABLE and name.lower() not in PROXIES}
    made["PYTHONUNBUFFERED"] = "1"
    path = folder / KEY
    if path.exists():
        made[KEY_VARIABLE] = path.read_text(encoding="utf-8")
        path.unlink()
    return made


def tell(folder: Path, progress: Progress) -> None:
    """Say how far it is."""
    draft = folder / f"{RESULT}.new"
    draft.write_text(json.dumps(progress), encoding="utf-8")
    draft.replace(folder / RESULT)


def run(folder: Path, call: Call, made: Mapping[str, str], log: BinaryIO) -> int:
    """Run a call to its end. Returns its exit status."""
    progress: Progress = {"name": call["name"], "came": 0, "requests": call["requests"]}
    tell(folder, progress)
    # Nothing of it outlives this program, as that is the container's.
    said, says = os.pipe()
    child = subprocess.Popen(
        command(call), env=made, cwd=folder, stdin=subprocess.DEVNULL, stdout=says, stderr=subprocess.STDOUT
    )
    os.close(says)
    written, tail, told = 0, b"", time.monotonic()
    while piece := os.read(said, 1 << 16):
        log.write(piece[: max(0, MOST_LOG - written)])
        log.flush()
        written, tail = written + len(piece), (tail + piece)[-4096:]
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            progress["came"] = max(progress["came"], came(tail, call["requests"]))
            tell(folder, progress)
    os.close(said)
    progress["came"] = max(progress["came"], came(tail, call["requests"]))
    tell(folder, progress)
    return child.wait()


def main(arguments: list[str]) -> int:
    """Call the client, and pack what it has written."""
    folder = Path(arguments[0])
    order: Order = json.loads((folder / ORDER).read_text(encoding="utf-8"))
    made = environment(folder, os.environ)
    status = 0
    with (folder / LOG).open("wb") as log:
        for call in order["calls"]:
            status = run(folder, call, made, log)
            path = folder / f"{call['name']}.json"
            if path.exists():
                (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
            if status:
                break
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
