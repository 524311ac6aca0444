# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a GPU does now, as ``nvidia-smi`` tells it. What it does not tell is null, and never 0.

A GB10 tells neither memory, which is the host's, nor a limit of power; what it does not measure reads ``[N/A]``.

This module util is private to the collection.
"""

from __future__ import annotations

import math
from typing import Any

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.nvidia_smi import (
    NvidiaSmiError,
    explain_failure,
    is_answer,
)

#: the name is the last, as it may hold commas
FIELDS = (
    "index",
    "driver_version",
    "temperature.gpu",
    "power.draw",
    "clocks.sm",
    "clocks.max.sm",
    "utilization.gpu",
    "pstate",
    "name",
)
QUERY = ("nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits")


def number(text: str, least: float = 0) -> float | None:
    """A number, None where there is none or one that nothing on a running GPU can be.

    >>> number("3.42"), number("[N/A]"), number("0", 1), number("0"), number("nan")
    (3.42, None, None, 0.0, None)
    """
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= least else None


def read_answer(code: int, out: str, err: str) -> list[dict[str, Any]]:
    """The GPUs, each with ``driver``, ``temperature_c``, ``power_w``, ``clock_mhz``, ``clock_max_mhz``, ``used``
    (0 to 1), ``pstate`` and ``name``.

    :raises NvidiaSmiError: where nvidia-smi failed; it says what to do.
    """
    if code == 127 and not out:
        raise NvidiaSmiError("there is no nvidia-smi: install the NVIDIA driver with its utilities (nvidia-utils)")
    if not is_answer(code, out):
        raise NvidiaSmiError(explain_failure(code, f"{out}\n{err}"))
    lines = [line for line in out.splitlines() if line.strip() and not line.lower().lstrip().startswith("warning:")]
    if not lines:
        raise NvidiaSmiError(explain_failure(6, out))
    return [_gpu(line) for line in lines]


def _gpu(line: str) -> dict[str, Any]:
    cells = [cell.strip() for cell in line.split(",", len(FIELDS) - 1)]
    if len(cells) != len(FIELDS) or not cells[0].isdigit():
        raise NvidiaSmiError(explain_failure(0, line))
    told = dict(zip(FIELDS, cells))
    used = number(told["utilization.gpu"])
    return {
        "name": told["name"],
        "driver": told["driver_version"],
        # A sensor that is not there may read 0, which no GPU that runs has.
        "temperature_c": number(told["temperature.gpu"], 1),
        "power_w": number(told["power.draw"], 0.01),
        "clock_mhz": number(told["clocks.sm"], 1),
        "clock_max_mhz": number(told["clocks.max.sm"], 1),
        "used": None if used is None or used > 100 else used / 100,
        "pstate": told["pstate"] if told["pstate"].startswith("P") else None,
    }
