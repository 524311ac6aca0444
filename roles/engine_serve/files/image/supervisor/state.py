# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this node's supervisor does now: written to ``state.json``."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from pathlib import Path
from typing import IO, Any

from . import contract, paths


def read(path: Path) -> dict[str, Any]:
    """The JSON object in a file. :raises OSError: and ValueError, where there is none."""
    return dict(json.loads(path.read_text()))


def config() -> str:
    """What this container was started with: the value of CONFIG_VARIABLE, which ssh carries to no rank of a worker."""
    said = os.environ.get(contract.CONFIG_VARIABLE)
    if said is None and paths.environment().exists():
        said = read(paths.environment()).get(contract.CONFIG_VARIABLE)
    return said or ""


def folder() -> Path:
    """The directory of the files that belong to this container.

    While a play tries another configuration, the files of the last good one are kept beside it, and a container of that
    one which starts again, as after a reboot, goes by them.
    """
    own = config()
    kept = paths.CONFIG / contract.KEPT / own
    return kept if own and kept.is_dir() else paths.CONFIG


def print_config() -> int:
    """Answer the leader's question, by ssh."""
    print(config())
    return 0


def cluster() -> dict[str, Any]:
    """``cluster.json``, of the shape :class:`contract.Cluster`."""
    return read(folder() / contract.CLUSTER)


def node() -> dict[str, Any]:
    """``node.json``, of the shape :class:`contract.NodeConfig`."""
    return read(folder() / contract.NODE)


def say(text: str) -> None:
    """Write a line into the container's log."""
    print(f"dgx-spark: {text}", file=sys.stderr, flush=True)


def replace(path: Path, content: Any) -> None:
    """Replace a file by JSON, in one step. :raises OSError: when the disk does not let it be written."""
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    draft.replace(path)


class State:
    """The state file, of the shape :class:`contract.State`."""

    node = ""  #: this node's name; this and the next two are for alerts, and in no file
    failing = ""  #: why the last probe of an engine that has served got no token
    tcp: str | None = None  #: which ranks are not on RDMA, in words; None before those of a start were judged

    def __init__(self) -> None:
        self.path = paths.STATE / contract.STATE
        try:
            self.values: dict[str, Any] = read(self.path)
        except (OSError, ValueError):  # there is none yet, or a power cut left half of it
            self.values = {}

    def set(self, **values: Any) -> None:
        """Change some values, and write the file; a new phase goes into the log too."""
        self.values.update(values, at=time.time())
        try:
            replace(self.path, self.values)
        except OSError as error:  # a full disk is no reason to end what serves
            say(f"{self.path} cannot be written: {error}")
        if "phase" in values:
            say(f"{values['phase']}{': ' + values['reason'] if values.get('reason') else ''}")


def lock() -> IO[str]:
    """Wait for this node's lock, so that two supervisors never run at the same time.

    It is held as long as what is returned is open. Until then the state file belongs to the other one.
    """
    file = (paths.STATE / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"{contract.WAITING}: another run holds the lock")
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def health() -> int:
    """Docker's question, whether the container is healthy: one that starts is; only a lost canary is not."""
    return 1 if State().values.get("phase") in contract.UNHEALTHY else 0
