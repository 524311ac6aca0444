# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read out of an image of TensorRT-LLM what it says of itself: its version, the schema of its options, its flags.

Version and schema are files, which a container gives that was created and never started. The flags are what
``trtllm-serve serve --help`` prints, for which a container has to run: without a GPU, a network or much memory.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import image_facts
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.image_facts import Container, Limits, Program
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import layout

PLACES = layout("trtllm")
PACKAGE = "tensorrt_llm"
SCHEMA = "schemas/trtllm-serve-config.schema.json"
VERSION = "version.py"

_PYTHONS = (12, 13, 10, 11, 14, 9)  # the likeliest first
_VERSION_LINE = re.compile(r"""^__version__\s*(?::\s*str\s*)?=\s*["']([^"'\n]{1,60})["']""", re.MULTILINE)
# The libraries are named to a bash alone, and those for a driver that is not there come last.
_HELP = (
    'export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/cuda/compat/lib.real:'
    '/usr/local/cuda/compat"; exec trtllm-serve serve --help'
)
HELP = Program(
    ("/bin/bash", "-c", _HELP),
    ("COLUMNS=200", "DO_NOT_TRACK=1", "NVIDIA_VISIBLE_DEVICES=void", "TRTLLM_NO_USAGE_STATS=1"),
    "trtllm-serve serve --help",
)
#: words of a schema that no judgement needs, and that are most of it
_WORDS = ("$comment", "default", "description", "examples", "telemetry", "title")
#: below these, keys are names
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "mapping")


# --- files of an image, without starting it ---------------------------------------------------------------------------


def libraries(environment: Sequence[str]) -> list[str]:
    """Where an image may have Python's packages, the likeliest first.

    >>> libraries(["VIRTUAL_ENV=/opt/trt"])[0]
    '/opt/trt/lib/python3.12/site-packages'
    """
    named = dict(one.partition("=")[::2] for one in environment)
    roots = [named["VIRTUAL_ENV"].rstrip("/")] if named.get("VIRTUAL_ENV") else []
    found = [f"{root}/lib/python3.{minor}/site-packages" for root in roots for minor in _PYTHONS]
    found += [f"/usr/local/lib/python3.{minor}/dist-packages" for minor in _PYTHONS]
    found += ["/usr/lib/python3/dist-packages"]
    found += [f"/usr/local/lib/python3.{minor}/site-packages" for minor in _PYTHONS]
    found += [f"/opt/venv/lib/python3.{minor}/site-packages" for minor in _PYTHONS]
    return [*found, "/app/tensorrt_llm", "/code/tensorrt_llm"]


def package_facts(docker: Docker, image: Mapping[str, Any]) -> dict[str, Any]:
    """``version``, ``schema`` and ``package``, the directory of the package, of an image that is not started.

    :param image: as ``image_facts.image_for`` returns it.
    """
    with Container(docker, image["id"], PLACES) as container:
        for folder in libraries(image["environment"]):
            text = container.file(f"{folder}/{PACKAGE}/{VERSION}")
            if text is not None:
                schema = container.file(f"{folder}/{PACKAGE}/{SCHEMA}")
                return {"version": version_in(text), "schema": schema_in(schema), "package": f"{folder}/{PACKAGE}"}
    return {"version": "", "schema": None, "package": ""}


def version_in(text: str) -> str:
    """The version that ``version.py`` of the package tells.

    >>> version_in('# Copyright\\n__version__ = "1.3.0rc13"\\n'), version_in("")
    ('1.3.0rc13', '')
    """
    found = _VERSION_LINE.search(text)
    return found[1] if found else ""


def schema_in(text: str | None) -> dict[str, Any] | None:
    """The schema without what only people read; None where there is none."""
    try:
        found = json.loads(text) if text else None
        return dict(slim(found), title=str(found.get("title", ""))) if isinstance(found, dict) else None
    except (RecursionError, ValueError):
        return None


def slim(schema: Any, names: bool = False) -> Any:
    """A schema without descriptions and defaults, but for what is said of old keys.

    :param names: whether the keys of a mapping are names, and not words of a schema.

    >>> slim({"title": "A", "properties": {"title": {"type": "string", "description": "Of the page."}}})
    {'properties': {'title': {'type': 'string'}}}
    """
    if isinstance(schema, list):
        return [slim(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    is_old = not names and (schema.get("status") == "deprecated" or schema.get("deprecated") is True)
    return {
        name: value if name == "description" and not names else slim(value, not names and name in _NAMED)
        for name, value in schema.items()
        if names or name not in _WORDS or (is_old and name == "description")
    }


# --- flags, which a container tells that runs -------------------------------------------------------------------------


def flags_of(docker: Docker, image: str, limits: Limits, meminfo: Path = Path("/proc/meminfo")) -> tuple[Any, str]:
    """The flags of ``trtllm-serve`` as its help tells them, None where it does not; and why not."""
    text = meminfo.read_text(encoding="utf-8")
    return image_facts.heard(docker, image, PLACES, HELP, limits, text, parse_help)


_OPTION = re.compile(r"  (?P<first>-\S.*?)(?:\s{2,}.*)?")
_NAMES = re.compile(r"--([A-Za-z][\w-]*)(?=[,\s]|$)")
_KINDS = {"INTEGER": "int", "FLOAT": "float", "PATH": "path", "FILE": "path", "DIRECTORY": "path", "BOOLEAN": "bool"}


def parse_help(lines: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The flags of a help as Click lays it out, by name without dashes: ``kind`` and ``choices``.

    >>> parse_help(["Options:", "  --port, --http_port INTEGER  Port.", "  --grpc", "        Not on --port."])["grpc"]
    {'kind': 'flag', 'choices': []}
    """
    return dict(_flags(lines))


def _flags(lines: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    inside = False
    for line in lines:
        if line and not line[0].isspace():
            inside = line.strip() == "Options:"
        found = _OPTION.fullmatch(line.rstrip()) if inside else None
        if not found:
            continue
        first = found["first"]
        names = list(_NAMES.finditer(first))
        if not names:
            continue
        taken = first[names[-1].end() :].strip()
        choices = taken[1:-1].split("|") if taken.startswith("[") and taken.endswith("]") else []
        word = taken.split(" ")[0]
        kind = "choice" if choices else _KINDS.get(word, "str") if word else "flag"
        for one in names:
            if one[1] != "help":
                yield one[1], {"kind": kind, "choices": choices}


# --- all of it --------------------------------------------------------------------------------------------------------


def look(docker: Docker, name: str, folder: str, run_help: bool, limits: Limits) -> dict[str, Any]:
    """What ``image_facts.look`` returns. :param run_help: whether a container may be started."""

    def facts_of(image: Mapping[str, Any]) -> dict[str, Any]:
        found = package_facts(docker, image)
        flags, why = flags_of(docker, image["id"], limits) if run_help else (None, "no container was started")
        return {**found, "flags": flags, "no_flags_because": why}

    return image_facts.look(docker, name, folder, PLACES, facts_of, run_help)
