# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines as TensorRT-LLM's logger writes them, or another engine's, whose stand-in says in which form."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Callable, TextIO


def _write(stream: TextIO, line: str) -> None:
    """One write a line, so that lines of several processes do not mix. Whoever outlives mpirun, as an orphan, has
    nobody to write to, and goes on without, as Python's own logging does."""
    with contextlib.suppress(OSError):
        stream.write(f"{line}\n")
        stream.flush()


def _form(text: str, level: str, rank: int | None) -> str:
    who = "[TRT-LLM]" if rank is None else f"[TRT-LLM] [RANK {rank}]"
    return f"[{time.strftime('%m/%d/%Y-%H:%M:%S')}] {who} [{level}] {text}"


_forms: list[Callable[[str, str, int | None], str]] = [_form]


def use(form: Callable[[str, str, int | None], str]) -> None:
    """Write this process's lines in another form. :param form: of a text, its level (I, W or E) and a rank."""
    _forms[:] = [form]


def say(text: str, level: str = "I", rank: int | None = None) -> None:
    _write(sys.stdout, _forms[0](text, level, rank))


def raw(text: str) -> None:
    """A line of somebody else's: NCCL's, or of the engine's part in C++."""
    _write(sys.stdout, text)


def progress_bar(text: str) -> None:
    """A progress bar, which tqdm leaves without an end of its line until it is full."""
    with contextlib.suppress(OSError):
        sys.stdout.write(f"\r{text}")
        sys.stdout.flush()


def uvicorn(text: str) -> None:
    _write(sys.stderr, f"INFO:     {text}")
