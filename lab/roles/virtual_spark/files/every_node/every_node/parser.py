# SIMULATED: part of a virtual Spark's stand-in for SGLang and for vLLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine's parser of arguments, made again of what the real one said of itself."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any, Callable, Sequence

FACTS = Path(__file__).parent / "facts"
_SIZES = {"k": 10**3, "K": 2**10, "m": 10**6, "M": 2**20, "g": 10**9, "G": 2**30, "t": 10**12, "T": 2**40}


def _json(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"Invalid JSON string: {value}") from error


def _size(value: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:([kKmMgGtT])i?)?", value)
    if not found:
        raise argparse.ArgumentTypeError(f"Invalid number: {value}")
    return int(float(found[1]) * _SIZES.get(found[2], 1))


def _size_or_auto(value: str) -> int:
    return -1 if value == "auto" else _size(value)


#: what reads a value, by the name of the real one's own function; all others take any word
_TYPES: dict[str, Callable[[str], Any]] = {
    "float": float,
    "int": int,
    "human_readable_int": _size,
    "human_readable_int_or_auto": _size_or_auto,
    "json_list_type": _json,
    "loads": _json,
}
_VALUELESS = ("_StoreTrueAction", "DeprecatedStoreTrueAction")


def _type(name: str) -> Callable[[str], Any]:
    """A function of this name, which is what a program that asks the real parser reads."""
    read = _TYPES.get(name, str)
    if read in (float, int, str):
        return str if name == "str" else read if name in _TYPES else _named(name, str)
    return _named(name, read)


def _named(name: str, read: Callable[[str], Any]) -> Callable[[str], Any]:
    def of_that_name(value: str) -> Any:
        return read(value)

    of_that_name.__name__ = name
    return of_that_name


def _action(name: str) -> type[argparse.Action]:
    """An action of this name, which stores."""
    valueless = name in _VALUELESS

    class Action(argparse.Action):
        def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
            super().__init__(option_strings, dest, **({"nargs": 0, "default": False} if valueless else {}), **more)

        def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, _option: Any = None) -> None:
            setattr(namespace, self.dest, True if valueless else values)

    Action.__name__ = name
    return Action


def facts(engine: str) -> dict[str, Any]:
    """``version`` and ``flags`` of an engine."""
    return json.loads((FACTS / f"{engine}.json").read_text(encoding="utf-8"))


def add(parser: argparse.ArgumentParser, engine: str) -> None:
    """Add an engine's flags to a parser."""
    for flag in facts(engine)["flags"]:
        about: dict[str, Any] = {"required": True} if flag.get("required") else {}
        names, action = flag["names"], flag["action"]
        if action == "BooleanOptionalAction":
            own = [name for name in names if not name.startswith("--no-")]  # it adds the contrary by itself
            parser.add_argument(*own, action=argparse.BooleanOptionalAction)
        elif action == "_StoreTrueAction":
            parser.add_argument(*names, action="store_true")
        elif action == "DeprecatedStoreTrueAction":
            parser.add_argument(*names, action=_action(action))
        else:
            if "type" in flag:
                about["type"] = _type(flag["type"])
            if flag.get("several"):
                about["nargs"] = "*"
            if "choices" in flag:
                about["choices"] = [about.get("type", str)(one) for one in flag["choices"]]
            kind: Any = "append" if action == "_AppendAction" else action
            parser.add_argument(*names, action=kind if kind in ("append",) else _stored(kind), **about)


def _stored(name: str) -> Any:
    return "store" if name == "_StoreAction" else _action(name)
