# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A long build in a transient unit of systemd's: started, looked at, ended, and removed.

The unit outlives the play that starts it. A restart of the host ends it; the next run starts it again, and its program
goes on with the stage that was not done.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import make_directories, write_atomically
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.notes import ROOT

#: runs a program; returns its exit status, what it printed, and what it complained of
Run = Callable[[Sequence[str]], "tuple[int, str, str]"]
_TAIL = 60  # lines of a log


class UnitError(ValueError):
    """A build cannot be started or ended. The message names the cause and the mend."""


def state_of(folder: str) -> dict[str, Any]:
    """What the program noted last; empty where there is no note."""
    try:
        found = json.loads(Path(folder, layout.STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_active(run: Run, unit: str) -> bool:
    """Whether the unit runs; also while it is being started or ended."""
    _rc, out, _err = run(["systemctl", "show", "--property=ActiveState", "--value", unit])
    return out.strip() in ("active", "activating", "deactivating", "reloading")


def start_argv(unit: str, folder: str, what: str) -> list[str]:
    """The command that starts a build. It is nicer than what serves, and nothing of it stays when it has ended."""
    return [
        "systemd-run",
        f"--unit={unit}",
        "--collect",
        "--quiet",
        f"--description=Build {what}",
        "--property=Nice=10",
        "--property=OOMScoreAdjust=500",
        "--property=KillMode=control-group",
        "--property=TimeoutStopSec=30",
        "--setenv=HOME=/root",
        "--setenv=LC_ALL=C.UTF-8",
        "/usr/bin/python3",
        "-I",
        f"{folder}/{layout.PROGRAM}",
        f"{folder}/{layout.REQUEST}",
    ]


def start(run: Run, kind: str, folder: str, request: Mapping[str, Any], program: str) -> bool:
    """Start a build unless it runs; return whether it was started.

    A build that has ended is begun anew where its outcome is wanted again: its image was removed.

    :raises UnitError: where another one runs, or systemd refuses.
    """
    unit, state = layout.unit(kind), state_of(folder)
    if is_active(run, unit):
        if state.get("id") in (request["id"], None):
            return False
        raise UnitError(f"{unit} is building {state.get('what')}: wait for its end, or end it (systemctl stop {unit})")
    theirs = foreign(folder)
    if theirs:
        raise UnitError(
            f"{folder} has {' and '.join(theirs)}, which no build has made: name another image_build_dir. Nothing was "
            "changed."
        )
    make_directories(Path(folder), 0o755)
    source_is_gone = kind == layout.IMAGE and not Path(folder, layout.SOURCE).exists()
    if state.get("phase") == layout.DONE or (state.get("done") and source_is_gone):
        Path(folder, layout.STATE).unlink()
    write_atomically(Path(folder, layout.PROGRAM), program.encode(), 0o755)
    write_atomically(Path(folder, layout.REQUEST), (json.dumps(request, indent=1) + "\n").encode(), 0o600)
    run(["systemctl", "reset-failed", unit])  # of systemd's that were told not to collect it
    rc, out, err = run(start_argv(unit, folder, str(request["what"])))
    if rc:
        raise UnitError(f"systemd does not start {unit}: {(err or out).strip()}")
    return True


def waited(run: Run, kind: str, folder: str, seconds: float, pause: float = 0.5) -> dict[str, Any]:
    """How a build stands, as soon as it ends or after some seconds: ``outcome``, ``state`` and, where it ended ill, ``log``."""
    until = time.monotonic() + seconds
    while True:
        active = is_active(run, layout.unit(kind))
        outcome = layout.outcome(state_of(folder), active)
        if not active or time.monotonic() >= until:
            break
        time.sleep(pause)
    ill = outcome not in (layout.RUNNING, layout.DONE)
    return {"outcome": outcome, "state": state_of(folder), "log": tail(folder) if ill else []}


def tail(folder: str) -> list[str]:
    """The last lines of a build's log."""
    try:
        with Path(folder, layout.LOG).open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - 65536))
            text = stream.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.replace("\r", "\n").splitlines() if line.strip()][-_TAIL:]


def end(run: Run, kind: str) -> bool:
    """End a build that runs; return whether one did."""
    unit = layout.unit(kind)
    if not is_active(run, unit):
        return False
    rc, out, err = run(["systemctl", "stop", unit])
    if rc:
        raise UnitError(f"systemd does not end {unit}: {(err or out).strip()}")
    return True


def foreign(folder: str) -> list[str]:
    """The names in a directory that a build would take, where no build has made them."""
    ours = folder in map(layout.folder, (layout.IMAGE, layout.ENGINE))
    if ours or state_of(folder).get("id") or Path(folder, layout.SOURCE, layout.OWN_CLONE).exists():
        return []
    try:
        request = json.loads(Path(folder, layout.REQUEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        request = {}
    if isinstance(request, dict) and "stages" in request:
        return []
    names = (layout.PROGRAM, layout.REQUEST, layout.STATE, layout.LOG, layout.SOURCE)
    return [name for name in names if Path(folder, name).exists()]


def leftovers(folder: str, source: bool) -> list[str]:
    """What is there of a build, the notes by which it is known last. :param source: whether the clone counts."""
    if foreign(folder):
        return []
    names = (*((layout.SOURCE,) if source else ()), layout.PROGRAM, layout.LOG, layout.STATE, layout.REQUEST)
    return [str(path) for path in (Path(folder, name) for name in names) if path.exists()]


def remove(folder: str, source: bool) -> list[str]:
    """Remove what is there of a build, and its directories where nothing else is in them; return what was removed."""
    going = leftovers(folder, source)
    if not source and going and Path(folder, layout.SOURCE, ".git").is_dir():
        Path(folder, layout.SOURCE, layout.OWN_CLONE).touch()
    for one in going:
        path = Path(one)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    for place in (Path(folder), Path(ROOT)):
        if place.is_dir() and not any(place.iterdir()) and (place != Path(ROOT) or going):
            place.rmdir()
    return going
