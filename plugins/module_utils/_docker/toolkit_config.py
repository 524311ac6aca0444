# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NVIDIA Container Toolkit: its configuration, as ``nvidia-ctk config`` prints it, and what its versions can do.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import re

_STRING = re.compile(r'(?P<key>[A-Za-z0-9_-]+) *= *(?P<value>"(?:[^"\\]|\\.)*"|\'[^\']*\') *(?:#.*)?')
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class ToolkitConfigError(ValueError):
    """A setting that cannot be read or made."""


def string(text: str, key: str, table: str = "") -> str | None:
    """Return a string of a table, by default of those before the first; None where unset (a comment sets nothing)."""
    here = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            here = line.split("#")[0].strip("[] \t")
        elif here == table and line.startswith(key) and line[len(key) :].lstrip().startswith("="):
            match = _STRING.fullmatch(line)
            if match is None:
                raise ToolkitConfigError(f"cannot read {line!r}: correct it by hand")
            quoted = match["value"]
            try:
                return json.loads(quoted) if quoted.startswith('"') else quoted[1:-1]
            except ValueError:  # an escape of TOML that JSON does not have
                raise ToolkitConfigError(f"cannot read {line!r}: correct it by hand") from None
    return None


def with_resource(present: str | None, variable: str) -> str:
    """Return swarm-resource, a list of names of variables, with one more; all others stay."""
    if not _VARIABLE.fullmatch(variable):
        raise ToolkitConfigError(f"{variable!r} is no name of an environment variable: give DOCKER_RESOURCE_<KIND>")
    names = [name.strip() for name in (present or "").split(",") if name.strip()]
    return (present or "") if variable in names else ",".join([*names, variable])


def version_of(text: str) -> tuple[int, int]:
    """Return the version's first two numbers, of what ``nvidia-ctk --version`` or a package says."""
    match = re.search(r"(?:version |^)(?:[0-9]+:)?([0-9]{1,9})\.([0-9]{1,9})\.", text)
    if match is None:
        raise ToolkitConfigError(f"no version of the NVIDIA Container Toolkit is in {text.strip()[:80]!r}")
    return int(match[1]), int(match[2])


def swarm_way(version: str, mode: str, gpus: int) -> str:
    """Say how a task gets the GPU that Swarm chose for it, with this toolkit in this mode; refuse where it cannot.

    By the toolkit's changelog: ``auto`` is jit-cdi from 1.18 and legacy before; jit-cdi knows swarm-resource from 1.19.
    """
    number, toolkit = version_of(version), f"NVIDIA Container Toolkit {version} in mode {mode!r}"
    effective = ("jit-cdi" if number >= (1, 18) else "legacy") if mode == "auto" else mode
    if effective == "legacy":
        return f"{toolkit}: its hook reads DOCKER_RESOURCE_<KIND>, which Swarm sets (swarm-resource)"
    if effective == "jit-cdi" and number >= (1, 19):
        return f"{toolkit}: it reads DOCKER_RESOURCE_<KIND>, which Swarm sets (swarm-resource)"
    if effective == "jit-cdi" and gpus == 1:
        return (
            f"{toolkit}: it does not read what Swarm sets (1.19 does). There is one GPU, so a task with "
            "NVIDIA_VISIBLE_DEVICES=all gets the right one"
        )
    if effective == "jit-cdi":
        raise ToolkitConfigError(
            f"{toolkit} does not read which of the {gpus} GPUs Swarm chose for a task: upgrade it to 1.19 or later "
            "(apt install nvidia-container-toolkit), or set its mode to legacy (nvidia-ctk config --in-place --set "
            "nvidia-container-runtime.mode=legacy)"
        )
    raise ToolkitConfigError(
        f"{toolkit} was not seen to give a task the GPU that Swarm chose: set its mode to auto "
        "(nvidia-ctk config --in-place --set nvidia-container-runtime.mode=auto)"
    )
