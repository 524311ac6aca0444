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
=================  ====================================================================================================
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

ENGINE_DEAD, NO_ANSWER, DIE_AT_LOAD = "engine-dead", "no-answer", "die-at-load"
SLOW_TOKENS, IGNORE_SIGTERM = "slow-tokens", "ignore-sigterm"
NCCL_SILENT, NCCL_BEHIND = "nccl-silent", "nccl-behind"
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


def heed_sigterm() -> None:
    """SIGTERM ends this process as ever, but for the fault."""

    def handle(_number: int, _frame: object) -> None:
        if not active(IGNORE_SIGTERM):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, handle)
