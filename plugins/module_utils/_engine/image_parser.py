# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which flags an image says that it takes, of an engine whose parser is Python's argparse: vLLM and SGLang.

A container has to run for that, without a GPU, a network or much memory. Its help would not do: argparse prints no kind
of a value.

This module util is private to the collection.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import image_facts
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.flags import Flag
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.image_facts import Limits, Program
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import layout

#: before the one line that counts of what the program prints
MARK = "dgx-spark-flags: "
#: follows what makes ``parser`` and ``version``: prints what the parser has
PRINT = f"""
import json
def inner(one):
    named = getattr(one, "__name__", "")
    if named not in ("_optional_type", "_parse_type"):
        return named
    held = [cell.cell_contents for cell in one.__closure__ or ()]
    return next(map(inner, filter(callable, held)), "")
print({MARK!r} + json.dumps({{
    "version": version,
    "flags": [
        {{
            "names": one.option_strings,
            "action": type(one).__name__,
            "type": inner(one.type),
            "several": one.nargs in ("+", "*"),
            "choices": None if one.choices is None else list(map(str, one.choices)),
        }}
        for one in parser._actions if one.option_strings and one.dest != "help"
    ],
}}))
"""
#: actions whose flags take no value, by the end of their names: an engine has some of its own
_VALUELESS = ("StoreTrueAction", "StoreFalseAction")


@dataclass(frozen=True)
class ImageParser:
    """The parser in the images of one engine."""

    engine: str
    make: str  # Python that makes ``parser`` and ``version``
    environment: Sequence[str]
    kinds: Mapping[str, str]  # of flags, by the names of the functions that read their values
    automatic: Sequence[str] = ()  # such functions that take "auto", too
    beside: Mapping[str, Sequence[str]] = field(default_factory=dict)  # other names that people write
    known: Mapping[str, Flag] = field(default_factory=dict)  # which flags take JSON, that a parser calls a string

    @property
    def places(self) -> dict[str, str]:
        """Where the engine has what on a host."""
        return layout(self.engine)

    @property
    def program(self) -> Program:
        """What a container runs."""
        return Program(("python3", "-c", self.make + PRINT), self.environment, "it")

    def kind_of(self, action: Mapping[str, Any], name: str = "") -> str:
        """The kind of a flag, as :class:`flags.Flag` names it. :param name: of the flag, without dashes."""
        if action["action"] == "BooleanOptionalAction":
            return "switch"
        if action["action"].endswith(_VALUELESS):
            return "flag"
        kind = "list" if action.get("several") else self.kinds.get(action["type"], "str")
        return "json" if kind == "str" and name in self.known and self.known[name].kind == "json" else kind

    def flags_in(self, actions: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """The flags of a parser by their long names without dashes: ``kind``, ``choices``, ``short`` and ``words``."""
        found = {}
        for action in actions:
            long = [name[2:] for name in action["names"] if name.startswith("--")]
            short = [name[1:] for name in action["names"] if not name.startswith("--")]
            if long:
                kind = self.kind_of(action, long[0])
                found[long[0]] = {
                    "kind": kind,
                    "choices": list(action["choices"] or []),
                    "short": [*([] if kind == "switch" else long[1:]), *short, *self.beside.get(long[0], ())],
                    "words": ["auto"] if action["type"] in self.automatic else [],
                }
        return found

    def parsed(self, lines: Sequence[str]) -> dict[str, Any]:
        """``version`` and ``flags`` of what the program printed, among what the engine itself writes; else empty."""
        said = next((line.partition(MARK)[2] for line in lines if MARK in line), "")
        try:
            found = json.loads(said) if said else {}
            return {"version": str(found["version"]), "flags": self.flags_in(found["flags"])} if found else {}
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            return {}

    def look(self, docker: Docker, name: str, folder: str, run: bool, limits: Limits, meminfo: str) -> dict[str, Any]:
        """What ``image_facts.look`` returns.

        :param run: whether a container may be started. :param meminfo: the text of that file.
        """

        def facts_of(image: Mapping[str, Any]) -> dict[str, Any]:
            found, why = None, "no container was started"
            if run:
                found, why = image_facts.heard(
                    docker, image["id"], self.places, self.program, limits, meminfo, self.parsed
                )
            found = found or {}
            about = {"version": found.get("version", ""), "package": "", "flags": found.get("flags")}
            return {**about, "no_flags_because": why}

        return image_facts.look(docker, name, folder, self.places, facts_of, run)


def told(flags: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Flag] | None:
    """What a note has, as the checks take it; None where it has nothing."""
    if not flags:
        return None
    return {
        name: Flag(str(one["kind"]), *(tuple(map(str, one.get(part, ()))) for part in ("choices", "short", "words")))
        for name, one in flags.items()
    }
