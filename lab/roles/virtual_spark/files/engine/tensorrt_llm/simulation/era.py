# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which TensorRT-LLM this is: its version and its era, that is, what spellings of flags and keys it knows."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any, Container

ERAS = ("1.2.0rc1", "1.3.0rc", "main", "1.4")  # as the sources name them; main is late 1.3, and 1.4 has all of it
_FACTS = Path(__file__).parent / "facts"


def _written(name: str, otherwise: str) -> str:
    """What the image's Dockerfile wrote down."""
    path = Path(os.environ.get("VIRTUAL_SPARK_ENGINE_ETC", "/etc/virtual-spark-engine"), name)
    return path.read_text().strip() if path.exists() else otherwise


def of_version(version: str) -> str:
    """The era of a version; the candidates of 1.3 from the twentieth on have most of what main has.

    >>> [of_version(version) for version in ("1.2.0rc6.post3", "1.3.0rc13", "1.3.0rc20", "1.3.0", "1.4.0rc0")]
    ['1.2.0rc1', '1.3.0rc', 'main', 'main', '1.4']
    """
    number = re.match(r"(\d+)\.(\d+)\.\d+(?:rc(\d+))?", version)
    if not number:
        return ERAS[2]
    if int(number[1]) > 1 or int(number[2]) > 3:
        return ERAS[3]
    if int(number[2]) < 3:
        return ERAS[0]
    return ERAS[1] if number[3] and int(number[3]) < 20 else ERAS[2]


def has_schema(version: str) -> bool:
    """Whether an image of this version carries the schema of its options: from the end of 1.3 on.

    >>> [has_schema(version) for version in ("1.2.1", "1.3.0rc13", "1.3.0rc20", "1.3.0rc29", "1.4.0rc0")]
    [False, False, False, True, True]
    """
    candidate = re.match(r"1\.3\.0rc(\d+)", version)
    return int(candidate[1]) >= 26 if candidate else of_version(version) in ERAS[2:]


def has(eras: Container[str], era: str) -> bool:
    """Whether what is listed with these eras is in an era."""
    return era in eras or (era == ERAS[3] and ERAS[2] in eras)


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


if __name__ == "__main__":  # while the image is built
    print(of_version(sys.argv[1]))
