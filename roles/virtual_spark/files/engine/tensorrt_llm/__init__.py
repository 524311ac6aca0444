# SIMULATED: stands in for TensorRT-LLM in a virtual Spark; computes nothing.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What recipes ask of the package itself: its version, which the real one prints on import, too."""

from __future__ import annotations

from tensorrt_llm.simulation import era as _era

__version__ = _era.version()
print(f"[TensorRT-LLM] TensorRT LLM version: {__version__} (SIMULATED)", flush=True)
