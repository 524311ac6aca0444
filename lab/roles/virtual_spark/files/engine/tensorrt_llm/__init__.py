# SIMULATED: stands in for TensorRT-LLM in a virtual Spark; computes nothing.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What recipes ask of the package itself: its version, which the real one prints on import, too."""

from __future__ import annotations

import os as _os
from pathlib import Path as _Path

from tensorrt_llm.simulation import era as _era

_libraries = _Path("/usr/local/tensorrt/lib")  # of the image, which says so to those alone whom a bash has started
if _libraries.is_dir() and str(_libraries) not in _os.environ.get("LD_LIBRARY_PATH", "").split(":"):
    raise ImportError("libnvinfer.so.10: cannot open shared object file: No such file or directory (SIMULATED)")

__version__ = _era.version()
print(f"[TensorRT-LLM] TensorRT LLM version: {__version__} (SIMULATED)", flush=True)
