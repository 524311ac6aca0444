# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where kernels that were compiled or tuned are kept for the next start: on the node, for this image alone."""

from __future__ import annotations

import os
from typing import Mapping

from . import contract, paths

#: directories by the variables that name them to libraries which several engines use
COMMON = {
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
    "CUDA_CACHE_PATH": "cuda",
}


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """The variables that name the directories. :param own: what an engine has beside those of :data:`COMMON`."""
    folder = paths.STATE / "cache" / os.environ.get(contract.CONFIG_VARIABLE, "").rpartition("-")[2]
    return {name: str(folder / place) for name, place in {**COMMON, **own}.items()}
