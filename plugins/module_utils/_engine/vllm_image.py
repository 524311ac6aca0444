# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read out of an image of vLLM which flags it takes, as the parser of its ``vllm serve`` has them.

A container has to run for that, without a GPU, a network or much memory. Its help would not do: argparse prints no kind
of a value.

This module util is private to the collection.
"""

from __future__ import annotations

import json
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import image_facts
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.flags import Flag
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.image_facts import Limits, Program
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import layout

PLACES = layout("vllm")
#: before the one line that counts of what the program prints
MARK = "dgx-spark-flags: "
#: prints what the parser has; where vLLM keeps that has changed, and the newest place comes first
PROGRAM = f"""
import importlib, json
def first(name, *modules):
    for module in modules:
        try:
            return getattr(importlib.import_module(module), name)
        except (AttributeError, ImportError):
            continue
    raise SystemExit("this vLLM has no " + name)
make = first("make_arg_parser", "vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")
kind = first("FlexibleArgumentParser", "vllm.utils.argparse_utils", "vllm.utils")
def inner(one):
    named = getattr(one, "__name__", "")
    if named not in ("_optional_type", "_parse_type"):
        return named
    held = [cell.cell_contents for cell in one.__closure__ or ()]
    return next(map(inner, filter(callable, held)), "")
print({MARK!r} + json.dumps({{
    "version": importlib.import_module("vllm").__version__,
    "flags": [
        {{
            "names": one.option_strings,
            "action": type(one).__name__,
            "type": inner(one.type),
            "several": one.nargs in ("+", "*"),
            "choices": None if one.choices is None else list(map(str, one.choices)),
        }}
        for one in make(kind())._actions if one.option_strings and one.dest != "help"
    ],
}}))
"""
PARSER = Program(
    ("python3", "-c", PROGRAM),
    ("DO_NOT_TRACK=1", "HF_HUB_OFFLINE=1", "NVIDIA_VISIBLE_DEVICES=void", "VLLM_NO_USAGE_STATS=1"),
    "it",
)
_KINDS = {
    "int": "int",
    "float": "float",
    "human_readable_int": "size",
    "human_readable_int_or_auto": "size",
    "loads": "json",
    "parse_dataclass": "json",
    "union_dict_and_str": "json",
}
_AUTO = "human_readable_int_or_auto"


def kind_of(action: Mapping[str, Any]) -> str:
    """The kind of a flag, as :class:`vllm_cli.Flag` names it.

    >>> kind_of({"action": "BooleanOptionalAction", "type": ""}), kind_of({"action": "_StoreAction", "type": "loads"})
    ('switch', 'json')
    """
    if action["action"] == "BooleanOptionalAction":
        return "switch"
    if action["action"] in ("_StoreTrueAction", "_StoreFalseAction"):
        return "flag"
    return "list" if action.get("several") else _KINDS.get(action["type"], "str")


def flags_in(actions: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The flags of a parser by their long names without dashes: ``kind``, ``choices``, ``short`` and ``words``.

    >>> flags_in([{"names": ["--seed"], "action": "_StoreAction", "type": "int", "choices": None}])
    {'seed': {'kind': 'int', 'choices': [], 'short': [], 'words': []}}
    """
    found = {}
    for action in actions:
        long = [name[2:] for name in action["names"] if name.startswith("--")]
        short = [name[1:] for name in action["names"] if not name.startswith("--")]
        kind = kind_of(action)
        if long:
            found[long[0]] = {
                "kind": kind,
                "choices": list(action["choices"] or []),
                "short": [*([] if kind == "switch" else long[1:]), *short],
                "words": ["auto"] if action["type"] == _AUTO else [],
            }
    return found


def parsed(lines: Sequence[str]) -> dict[str, Any]:
    """``version`` and ``flags`` of what the program printed, among what vLLM itself writes; empty where it did not."""
    said = next((line.partition(MARK)[2] for line in lines if MARK in line), "")
    try:
        found = json.loads(said) if said else {}
        return {"version": str(found["version"]), "flags": flags_in(found["flags"])} if found else {}
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}


def told(flags: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Flag] | None:
    """What a note has, as the checks take it; None where it has nothing."""
    if not flags:
        return None
    return {
        name: Flag(str(one["kind"]), *(tuple(map(str, one.get(part, ()))) for part in ("choices", "short", "words")))
        for name, one in flags.items()
    }


def look(docker: Docker, name: str, folder: str, run: bool, limits: Limits, meminfo: str) -> dict[str, Any]:
    """What ``image_facts.look`` returns.

    :param run: whether a container may be started. :param meminfo: the text of that file.
    """

    def facts_of(image: Mapping[str, Any]) -> dict[str, Any]:
        found, why = None, "no container was started"
        if run:
            found, why = image_facts.heard(docker, image["id"], PLACES, PARSER, limits, meminfo, parsed)
        found = found or {}
        about = {"version": found.get("version", ""), "package": "", "flags": found.get("flags")}
        return {**about, "no_flags_because": why}

    return image_facts.look(docker, name, folder, PLACES, facts_of, run)
