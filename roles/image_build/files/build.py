# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the stages of a long build one after the other, and go on where an earlier run was ended.

``build.py request.json``: systemd runs it in a transient unit, so that it outlives the play. ``state.json`` beside the
request says how far it is, and ``log`` there has all that the stages print. A stage that has ended well is not run
again for the same request. What a stage that was killed has left behind, such as git's locks, is removed first.

Python 3.8, standard library alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict

State = Dict[str, Any]
EVERY_S = 2.0  # seconds between two notes of how far it is
KEPT_LINES = 40  # of the log, for the reason of a failure
PAUSE_S = 10.0  # after an attempt that failed, times its number

# [ 45%] of make, [123/4567] of ninja, "#23 [wheel 9/9] RUN …" of BuildKit, "Receiving objects:  45%" of git
_PERCENT = re.compile(r"\[\s*(\d{1,3})%\]|(?:objects|deltas|files|LFS objects):\s+(\d{1,3})%")
_COUNT = re.compile(r"\[(\d+)/(\d+)\]")
_STEP = re.compile(r"#\d+ \[(?:(\S+) +)?(\d+)/(\d+)\] ")


def percent_of(line: str) -> int | None:
    """Return how much of its stage a line says is done, None where it says nothing of that.

    >>> percent_of("#23 812.4 [ 45%] Building CUDA object a.cu.o"), percent_of("#23 9.1 [10/40] Building")
    (45, 25)
    >>> percent_of("") is None
    True
    """
    found = _PERCENT.search(line)
    if found:
        return min(100, int(found[1] or found[2]))
    step = _STEP.match(line)
    count = None if step else _COUNT.search(line)
    if count and int(count[2]):
        return min(100, 100 * int(count[1]) // int(count[2]))
    return None


def step_of(line: str) -> str:
    """Return the step of a Dockerfile that a line begins, empty where it begins none.

    >>> step_of("#23 [wheel 9/9] RUN python3 scripts/build_wheel.py"), step_of("#23 1.2 [ 4%] Built target x")
    ('wheel 9/9', '')
    """
    found = _STEP.match(line)
    return " ".join(part for part in (found[1], f"{found[2]}/{found[3]}") if part) if found else ""


class Note:
    """``state.json``: who reads it sees a whole one, also after a power cut."""

    def __init__(self, path: Path, request: State) -> None:
        self._path, self._written = path, 0.0
        before = read(path)
        same = before.get("id") == request["id"]
        self.state: State = {
            "id": request["id"],
            "what": request["what"],
            "began": before.get("began", time.time()) if same else time.time(),
            "starts": (before.get("starts", 0) if same else 0) + 1,
            "done": before.get("done", []) if same else [],
            "seconds": before.get("seconds", {}) if same else {},
            "stages": [stage["name"] for stage in request["stages"]],
        }

    def say(self, **about: Any) -> None:
        self.state.update(about, at=time.time())
        draft = self._path.with_name(f".{self._path.name}.new")
        with draft.open("w", encoding="utf-8") as stream:
            json.dump(self.state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(self._path)
        self._written = time.monotonic()

    def now_and_then(self, **about: Any) -> None:
        if time.monotonic() - self._written >= EVERY_S:
            self.say(**about)


def read(path: Path) -> State:
    """Return the object in a file, empty where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def unlock(folders: list[str]) -> list[str]:
    """Remove the locks that a git has left which was killed. Nobody else uses these repositories."""
    removed = []
    for folder in folders:
        for path in sorted(Path(folder).rglob("*.lock")):
            if path.is_file() and not path.is_symlink():
                path.unlink()
                removed.append(str(path))
    return removed


def run(stage: State, log: Any, note: Note) -> int:
    """Run one stage once; return its exit status. Lines may end in a carriage return, as those of a progress bar."""
    log.write(f"== {stage['name']}: {' '.join(stage['argv'])}\n".encode())
    log.flush()
    try:
        child = subprocess.Popen(
            stage["argv"],
            cwd=stage.get("cwd") or None,
            env={**os.environ, **stage.get("environment", {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as error:
        log.write(f"{stage['argv'][0]} cannot be started: {error.strerror or error}\n".encode())
        return 127
    assert child.stdout is not None
    rest = b""
    while True:
        piece = os.read(child.stdout.fileno(), 65536)
        if not piece:
            break
        log.write(piece)
        log.flush()
        *lines, rest = re.split(rb"[\r\n]", rest + piece)
        rest = rest[-4096:]
        tell([line.decode(errors="replace") for line in lines], note)
    return child.wait()


def tell(lines: list[str], note: Note) -> None:
    """Note how far these lines say the stage is."""
    about: State = {}
    for line in lines:
        percent, step = percent_of(line), step_of(line)
        if step:
            about.update(step=step, percent=None)
        if percent is not None:
            about["percent"] = percent
    if about:
        note.state.update(about)
    note.now_and_then()


def last_lines(path: Path) -> list[str]:
    """Return the end of a log, without the empty lines."""
    with path.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - 65536))
        text = stream.read().decode(errors="replace")
    return [line.rstrip() for line in re.split(r"[\r\n]", text) if line.strip()][-KEPT_LINES:]


def build(request: State, folder: Path) -> int:
    """Run the stages that are left; return 0 where all have ended well."""
    note = Note(folder / "state.json", request)
    path = folder / "log"
    with path.open("ab") as log:
        for lock in unlock(request.get("unlock", [])):
            log.write(f"== removed {lock}, which an earlier run left\n".encode())
        for stage in request["stages"]:
            name = stage["name"]
            if name in note.state["done"]:
                continue
            began = time.time()
            note.say(phase="running", stage=name, title=stage["title"], step="", percent=None, stage_began=began)
            attempts = int(stage.get("attempts", 1))
            for argv in stage.get("before", []):
                subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            for attempt in range(1, attempts + 1):
                status = run(stage, log, note)
                if status == 0:
                    break
                if attempt < attempts:
                    time.sleep(PAUSE_S * attempt)
            log.flush()
            if status:
                note.say(phase="failed", status=status, reason=last_lines(path))
                return 1
            seconds = {**note.state["seconds"], name: round(time.time() - began, 1)}
            note.say(done=[*note.state["done"], name], seconds=seconds)
    note.say(phase="done", stage="", step="", percent=None, reason=[])
    return 0


def main() -> int:
    """Build what the file asks for that is named."""
    path = Path(sys.argv[1])
    return build(json.loads(path.read_text(encoding="utf-8")), path.parent)


if __name__ == "__main__":
    raise SystemExit(main())
