# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A part that fails or hangs is named with its why, and the others are read all the same."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import bounded
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.bounded import UnreadError, every_part, run


def test_a_part_that_hangs_is_told_and_delays_nobody() -> None:
    never = threading.Event()
    began = time.monotonic()
    read, unread = every_part({"good": lambda: 1, "bad": lambda: never.wait(60)}, seconds=0.3)
    never.set()
    assert time.monotonic() - began < 30
    assert read == {"good": 1}
    assert unread == {"bad": "it was not read within 0.3 s: something on this host hangs"}


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (UnreadError("nobody tells"), "nobody tells"),
        (PermissionError(13, "Permission denied", "/etc/x"), "/etc/x may not be read"),
        (KeyError("Spec"), "a form that is not known: 'Spec'"),
        (RecursionError(), "RecursionError"),
    ],
)
def test_a_part_that_fails_says_why(error: Exception, why: str) -> None:
    def part() -> Any:
        raise error

    read, unread = every_part({"part": part, "none": lambda: None}, 5)
    assert read == {"none": None}, "None is an answer"
    assert why in unread["part"]


def test_a_program_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "sleeper"
    program.write_text(f"#!/bin/sh\ntrap '' TERM\nsleep 60\necho late > {tmp_path}/late\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnreadError, match=r"sleeper did not end within 0\.2 s"):
        run(["sleeper"], seconds=0.2)
    assert not (tmp_path / "late").exists()


def test_a_program_speaks_english_and_both_its_outputs_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "speaker"
    program.write_text("#!/bin/sh\necho $LC_ALL\necho oops >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert run(["speaker"]) == (3, "C\noops\n")
    assert run(["no-such-program"]) == (127, "")


def test_administrators_programs_are_found_without_their_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert bounded.tool("ls")
    assert bounded.tool("no-such-program") is None
