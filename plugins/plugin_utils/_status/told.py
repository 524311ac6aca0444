# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was told, as the type that it should have; a host can tell anything. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

import math
from typing import Any, Mapping

MOST = 2.0**63  #: more is no figure of anything here


def mapping(value: object) -> Mapping[str, Any]:
    """A mapping, empty where it is none."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: object) -> list[Mapping[str, Any]]:
    """Those of a list that are mappings."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, (list, tuple)) else []


def text(value: object, most: int = 2000) -> str:
    """One line without anything that a terminal would act on; empty where it is no text.

    >>> text(" a\\n b\\x1b[31m"), text(None), text(3)
    ('a b?[31m', '', '')
    """
    words = " ".join(value.split()) if isinstance(value, str) else ""
    return "".join(sign if sign.isprintable() else "?" for sign in words[:most])


def texts(value: object) -> list[str]:
    """Those of a list that are text and not empty."""
    return list(filter(None, map(text, value))) if isinstance(value, (list, tuple)) else []


def number(value: object) -> float | None:
    """A number that is finite and not negative, None where it is none.

    >>> number(1), number(True), number(float("nan")), number("1"), number(-1)
    (1.0, None, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1 < value < MOST:
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def whole(value: object) -> int | None:
    """A whole number from 0 on, None where it is none."""
    told = number(value)
    return int(told) if told is not None and isinstance(value, int) else None


def yes(value: object) -> bool | None:
    """True or false, None where it is neither."""
    return bool(value) if isinstance(value, bool) else None


def figures(value: object, depth: int = 4) -> Any:
    """What is told in a form that only its writer knows: texts, numbers, lists and mappings of them, none too deep."""
    if isinstance(value, Mapping):
        return {text(name, 100): figures(one, depth - 1) for name, one in list(value.items())[:100]} if depth else {}
    if isinstance(value, (list, tuple)):
        return [figures(one, depth - 1) for one in value[:100]] if depth else []
    if isinstance(value, bool):
        return bool(value)
    return text(value) if isinstance(value, str) else number(value)
