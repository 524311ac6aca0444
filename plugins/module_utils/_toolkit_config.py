# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is private to the collection: it may change at any time.
"""Read the NVIDIA Container Toolkit's configuration in the plain form that ``nvidia-ctk config`` prints."""

from __future__ import annotations

import json
import re

_STRING = re.compile(r'(?P<key>[A-Za-z0-9_-]+) *= *(?P<value>"(?:[^"\\]|\\.)*"|\'[^\']*\') *(?:#.*)?')
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class ToolkitConfigError(ValueError):
    """A setting that cannot be read or made."""


def top_level_string(text: str, key: str) -> str | None:
    """Return a string that stands before the first table, None where it is not set (a comment sets nothing)."""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            return None
        if line.startswith(key) and line[len(key) :].lstrip().startswith("="):
            match = _STRING.fullmatch(line)
            if match is None:
                raise ToolkitConfigError(f"cannot read {line!r}: mend it by hand")
            quoted = match["value"]
            return json.loads(quoted) if quoted.startswith('"') else quoted[1:-1]
    return None


def with_resource(present: str | None, variable: str) -> str:
    """Return swarm-resource, a list of names of variables, with one more; those of others stay."""
    if not _VARIABLE.fullmatch(variable):
        raise ToolkitConfigError(f"{variable!r} is no name of an environment variable: give DOCKER_RESOURCE_<KIND>")
    names = [name.strip() for name in (present or "").split(",") if name.strip()]
    return (present or "") if variable in names else ",".join([*names, variable])
