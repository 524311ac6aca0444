# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults, injected from outside by files, one for each, in this container's directory.

=================  ====================================================================================================
``engine-dead``    rank 0: all processes live, ``/health`` is 503 and every generation 500, until the file is gone
``no-answer``      rank 0: connections are accepted and nothing is answered; another rank: it answers no message of MPI
``die-at-load``    any rank: killed at this percentage of loading (the file's content; 50 where it is empty)
``slow-tokens``    rank 0: seconds that a token takes (the file's content; 1 where it is empty)
``ignore-sigterm`` any rank: its processes do not end by SIGTERM
``nccl-silent``    any rank: NCCL writes no line, whatever ``NCCL_DEBUG`` says
``nccl-behind``    any rank: each line of NCCL's stands behind a progress bar, in the same line
``take-memory``    any rank: while it loads, memory goes away in the file of a ``/proc/meminfo`` that the fault's file
                   names, by the MiB a second that stand behind that (14336, which is 7 GiB in half a second)
``stand-still``    any rank: a load that neither logs nor reads nor takes memory, until the file is gone
``kv-tokens``      any rank: how many tokens the KV cache takes (the file's content; 65536 without the fault)
``spoil-answers``  the last rank: it spoils what it works on, so that easy questions are answered wrongly
``spoil-drafts``   the last rank: where there is a draft, it takes all that was guessed for right, and answers are wrong
``no-text``        NVIDIA's example programs: they generate an empty text
=================  ====================================================================================================
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path

ENGINE_DEAD, NO_ANSWER, DIE_AT_LOAD = "engine-dead", "no-answer", "die-at-load"
SLOW_TOKENS, IGNORE_SIGTERM = "slow-tokens", "ignore-sigterm"
NCCL_SILENT, NCCL_BEHIND = "nccl-silent", "nccl-behind"
TAKE_MEMORY, STAND_STILL, KV_TOKENS = "take-memory", "stand-still", "kv-tokens"
SPOIL_ANSWERS, SPOIL_DRAFTS, NO_TEXT = "spoil-answers", "spoil-drafts", "no-text"
DIRECTORY = "/run/virtual-spark-engine/faults"


def _path(name: str) -> Path:
    return Path(os.environ.get("VIRTUAL_SPARK_ENGINE_FAULTS", DIRECTORY), name)


def active(name: str) -> bool:
    return _path(name).exists()


def number(name: str, default: float) -> float | None:
    """The number in a fault's file; None without the fault."""
    try:
        text = _path(name).read_text().strip()
    except FileNotFoundError:
        return None
    try:
        return float(text)
    except ValueError:
        return default


def wait_out(name: str) -> None:
    """Do nothing while a fault lasts."""
    while active(name):
        time.sleep(0.1)


def die_at_load(percent: float) -> None:
    """As the kernel's OOM killer would end this rank."""
    limit = number(DIE_AT_LOAD, 50)
    if limit is not None and percent >= limit:
        os.kill(os.getpid(), signal.SIGKILL)


def take_memory() -> None:
    """Let memory go away from now on, where that was asked for, while the fault lasts."""
    try:
        words = _path(TAKE_MEMORY).read_text().split()
    except FileNotFoundError:
        return
    rate = float(words[1]) if len(words) > 1 else 14336
    threading.Thread(target=_take, args=[Path(words[0]), rate], daemon=True).start()


def _take(meminfo: Path, rate: float) -> None:
    """Write the file again and again, in its place: a container has it mounted."""
    text, last, took_s = meminfo.read_text(), time.monotonic(), 0.0
    while active(TAKE_MEMORY):
        time.sleep(0.02)
        now = time.monotonic()
        took_s += min(now - last, 0.04)  # a process that gets no processor takes no memory
        last = now
        with meminfo.open("r+") as file:
            file.write(_less(text, int(rate * 1024 * took_s)))


def _less(meminfo: str, kib: int) -> str:
    """A ``/proc/meminfo`` as long as before, with so much less that is free and available."""

    def less(found: re.Match[str]) -> str:
        return found[1] + str(max(0, int(found[2]) - kib)).rjust(len(found[2]))

    return re.sub(r"^(Mem(?:Free|Available):\s*)(\d+)", less, meminfo, flags=re.MULTILINE)


def heed_sigterm() -> None:
    """SIGTERM ends this process as ever, but for the fault."""

    def handle(_number: int, _frame: object) -> None:
        if not active(IGNORE_SIGTERM):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, handle)
