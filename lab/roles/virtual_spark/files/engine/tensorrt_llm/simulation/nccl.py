# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that stands in for NCCL's library: a rank has it mapped, for who looks which build it is."""

from __future__ import annotations

import mmap
from pathlib import Path

LIBRARY = Path("/usr/lib/virtual-spark/libnccl.so.2.28.3")
_mapped: list[mmap.mmap] = []  # as long as the process lives


def load() -> None:
    """Map it, where the image has it."""
    if LIBRARY.is_file() and not _mapped:
        with LIBRARY.open("rb") as file:
            _mapped.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
