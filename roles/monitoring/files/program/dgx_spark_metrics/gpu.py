# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the GPU does now, as ``nvidia-smi`` tells it. What it does not tell is absent, and never 0.

A GB10 tells neither its memory, which is the host's, nor a limit of power.
"""

from __future__ import annotations

import math
import re
import subprocess
from typing import Callable, Sequence

from .text import Metrics

#: by the field of nvidia-smi: the metric, what it is, the factor, and the least that a running GPU can have
FIELDS = {
    "temperature.gpu": ("dgx_spark_gpu_temperature_celsius", "The GPU's temperature.", 1.0, 1.0),
    "power.draw": ("dgx_spark_gpu_power_watts", "The power that the GPU draws.", 1.0, 0.01),
    "clocks.sm": ("dgx_spark_gpu_clock_hertz", "The clock of the GPU's processors.", 1e6, 1.0),
    "clocks.max.sm": ("dgx_spark_gpu_clock_max_hertz", "The highest clock of the GPU's processors.", 1e6, 1.0),
    "utilization.gpu": ("dgx_spark_gpu_used_ratio", "The share of time in which the GPU computed.", 0.01, 0.0),
}
REASONS = "clocks_event_reasons.active"
#: bits of NVML's clocksEventReasons by which a clock is lowered for a fault or for heat; a software cap of the power,
#: which is on half of the time without any load, is none of them
SLOWED = {"hardware": 0x8, "software_thermal": 0x20, "hardware_thermal": 0x40, "power_brake": 0x80}
TIMEOUT_S = 10.0

Run = Callable[[Sequence[str]], "tuple[int, str]"]


def run(argv: Sequence[str]) -> tuple[int, str]:
    """Run a program, and return its exit status and what it printed; 127 where it is not there, 124 where it hangs."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False)
    except FileNotFoundError:
        return 127, ""
    except subprocess.TimeoutExpired:
        return 124, ""
    return done.returncode, done.stdout


def value(text: str, factor: float, least: float) -> float | None:
    """A figure, None where there is none, or one that nothing on a running GPU can have.

    >>> value("36", 1.0, 1.0), value("[N/A]", 1.0, 1.0), value("0", 1.0, 1.0), value("208", 1e6, 1.0)
    (36.0, None, None, 208000000.0)
    """
    try:
        found = float(text)
    except ValueError:
        return None
    return found * factor if math.isfinite(found) and found >= least else None


def collect(found: Metrics, ask: Run = run) -> None:
    """The GPUs, and whether nvidia-smi finds any."""
    fields = [*FIELDS, REASONS]
    status, said = ask(query(fields))
    if "not a valid field" in said:  # a driver before R535
        fields = [*FIELDS]
        status, said = ask(query(fields))
    rows = [line.split(",") for line in said.splitlines() if re.match(r"\s*\d+\s*,", line)]
    works = status in (0, 14) and bool(rows)  # 14 comes with all rows, and warns of a damaged infoROM
    found.gauge("dgx_spark_gpu_up", "Whether nvidia-smi finds a GPU that answers.", works)
    for row in rows if works else []:
        told = dict(zip(["index", *fields], map(str.strip, row)))
        for field, (name, about, factor, least) in FIELDS.items():
            found.gauge(name, about, value(told.get(field, ""), factor, least), gpu=told["index"])
        reasons = told.get(REASONS, "")
        if re.fullmatch(r"0x[0-9a-fA-F]{1,16}", reasons):
            for reason, bit in SLOWED.items():
                found.gauge(
                    "dgx_spark_gpu_slowed",
                    "Whether the GPU lowers its clock for a fault or for heat.",
                    bool(int(reasons, 16) & bit),
                    gpu=told["index"],
                    reason=reason,
                )


def query(fields: Sequence[str]) -> list[str]:
    """How nvidia-smi is asked for some fields."""
    return ["nvidia-smi", f"--query-gpu={','.join(['index', *fields])}", "--format=csv,noheader,nounits"]
