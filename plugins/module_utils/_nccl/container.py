# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers of a measurement, by Docker's own client, and what they left.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Callable, Sequence, Tuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._nccl.layout import MOST_BYTES, NAME, RESULT, STATE

#: runs a program and returns its exit status, what it printed, and what it said of errors
Run = Callable[[Sequence[str]], Tuple[int, str, str]]
PAUSE = 1.0  # seconds between two looks


class ContainerError(Exception):
    """What Docker said, in words."""


def start(run: Run, argv: Sequence[str]) -> None:
    """Start a container in the place of an earlier one. :raises ContainerError: when it does not."""
    remove(run)
    code, _out, said = run(["docker", "run", *argv])
    if code:
        raise ContainerError(f"the container {NAME} does not start: {said.strip()[-500:]}")


def is_there(run: Run) -> bool:
    """Whether there is a container, running or not. :raises ContainerError: when Docker does not answer."""
    code, out, said = run(["docker", "ps", "--all", "--quiet", "--filter", f"name=^/{NAME}$"])
    if code:
        raise ContainerError(f"Docker does not tell its containers: {said.strip()[-500:]}")
    return bool(out.strip())


def is_running(run: Run) -> bool:
    """Whether the container runs. :raises ContainerError: when Docker does not answer."""
    code, out, said = run(["docker", "ps", "--quiet", "--filter", f"name=^/{NAME}$"])
    if code:
        raise ContainerError(f"Docker does not tell its containers: {said.strip()[-500:]}")
    return bool(out.strip())


def remove(run: Run) -> bool:
    """Remove the container, whatever it does. Returns whether there was one. :raises ContainerError: when it stays."""
    if not is_there(run):
        return False
    code, _out, said = run(["docker", "rm", "--force", NAME])
    if code and is_there(run):
        raise ContainerError(f"the container {NAME} cannot be removed: {said.strip()[-500:]}")
    return True


def await_end(run: Run, seconds: float, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Wait for the end of the container. Returns whether it has ended within so many seconds."""
    end = time.monotonic() + seconds
    while is_running(run):
        if time.monotonic() > end:
            return False
        sleep(PAUSE)
    return True


def log(run: Run, lines: int = 40) -> list[str]:
    """The last lines that the container wrote; none where there is no container."""
    code, out, said = run(["docker", "logs", "--tail", str(lines), NAME])
    return [] if code else (out + said).splitlines()[-lines:]


def result(folder: Path = Path(STATE)) -> dict[str, Any]:
    """What the leader's program noted; empty where it did not come to it.

    :raises OSError: when it is there and cannot be read.
    """
    path = folder / RESULT
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def outputs(names: Sequence[str], folder: Path = Path(STATE)) -> dict[str, str]:
    """What each program printed, by its operation, of those that were started.

    :raises OSError: when one is there and cannot be read.
    """
    paths = {name: folder / f"{name}.log" for name in names}
    return {name: _end_of(path) for name, path in paths.items() if path.exists()}


def _end_of(path: Path) -> str:
    """A log, without its middle where it is long: the beginning names the network, the end has the figures."""
    raw = path.read_bytes()
    half = MOST_BYTES // 2
    short = raw if len(raw) <= MOST_BYTES else raw[:half] + b"\n" + raw[-half:]
    return short.decode("utf-8", errors="replace")
