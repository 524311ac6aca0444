# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which TensorRT-LLM this is: its version and its era, that is, what spellings of flags and keys it knows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

ERAS = ("1.2.0rc1", "1.3.0rc", "main")  # as the sources name them; main is late 1.3 and 1.4.0rc
_FACTS = Path(__file__).parent / "facts"


def _written(name: str, otherwise: str) -> str:
    """What the image's Dockerfile wrote down."""
    path = Path(os.environ.get("VIRTUAL_SPARK_ENGINE_ETC", "/etc/virtual-spark-engine"), name)
    return path.read_text().strip() if path.exists() else otherwise


def version() -> str:
    return _written("version", "1.3.0rc13")


def current() -> str:
    """The era of the image, or the one that the environment asks for."""
    era = os.environ.get("VIRTUAL_SPARK_ENGINE_ERA") or _written("era", "1.3.0rc")
    if era not in ERAS:
        raise ValueError(f"VIRTUAL_SPARK_ENGINE_ERA={era}: this stand-in knows {', '.join(ERAS)}")
    return era


def facts(name: str) -> dict[str, Any]:
    return json.loads((_FACTS / f"{name}.json").read_text())
