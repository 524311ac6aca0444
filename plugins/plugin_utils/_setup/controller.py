# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs and files of the controller, as the steps of the set-up use them.

This plugin util is private to the collection.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError, write_atomically
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError


class Said(NamedTuple):
    """What a program printed, and its exit status; 127 where it is not there, 124 where it took too long."""

    status: int
    out: str
    error: str


def has(program: str) -> bool:
    """Whether a program is on PATH."""
    return shutil.which(program) is not None


def run(command: Sequence[str], seconds: float) -> Said:
    """Run a program without a terminal and without input, in plain English."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=seconds, env=environment
        )
    except FileNotFoundError:
        return Said(127, "", f"{command[0]} is not installed")
    except subprocess.TimeoutExpired as late:
        return Said(
            124, (late.stdout or b"").decode("utf-8", "replace"), f"{command[0]} has not ended in {seconds:g} s"
        )
    except OSError as error:
        return Said(126, "", told(error))
    return Said(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def text_of(path: Path) -> str | None:
    """The text of a file, every byte of it; None where there is no file. :raises PlanError: where it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PlanError(f"{told(error)}. Nothing was changed.") from error


def write(path: Path, text: str, mode: int) -> None:
    """Replace the text of a user's own file, or make it with this mode. A link stays, and what it leads to is written.

    :raises PlanError: where it cannot be written; it is as it was then.
    """
    real = path.resolve()
    try:
        kept = real.stat().st_mode & 0o7777 if real.exists() else mode
        if not real.parent.is_dir():
            real.parent.mkdir(mode=0o700, parents=True)
        write_atomically(real, text.encode("utf-8", "surrogateescape"), kept)
    except (OSError, FileError) as error:
        raise PlanError(f"{told(error)}. Mend that, and run setup again: it asks for what is not there yet.") from error


def folder_of(path: str) -> Path:
    """A directory of the user's, as an absolute path."""
    return Path.cwd() / Path(path).expanduser()
