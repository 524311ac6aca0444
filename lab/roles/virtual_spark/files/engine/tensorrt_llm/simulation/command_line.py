# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""trtllm-serve's command line: exactly one era's options, and Click's words for any other."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from tensorrt_llm.simulation import era as eras

COMMANDS = ("disaggregated", "disaggregated_mpi_worker", "mm_embedding_serve", "serve")
_COLUMN = 34  # where Click begins what an option is for
_METAVARS = {"int": "INTEGER", "float": "FLOAT", "str": "TEXT", "path": "PATH", "flag": ""}


class RefusedError(Exception):
    """A command line that Click would refuse: what it says on standard error, and its exit status."""

    def __init__(self, message: str, usage: str = "", status: int = 2) -> None:
        super().__init__(message)
        self.status = status
        self.text = f"{usage}\n\nError: {message}" if usage else message


@dataclass(frozen=True)
class Option:
    """One option: all its spellings in an era."""

    dest: str
    kind: str
    names: tuple[str, ...]
    default: Any = None
    choices: tuple[str, ...] = ()
    multiple: bool = False
    status: str = ""

    @property
    def hint(self) -> str:
        return " / ".join(f"'{name}'" for name in self.names)


@dataclass(frozen=True)
class Served:
    """A command line that is in order."""

    model: str
    options: dict[str, Any]


def options(era: str) -> list[Option]:
    """The options of an era."""
    return [
        Option(
            row["dest"],
            row["type"],
            tuple(row["spellings"].get(era) or row["spellings"][eras.ERAS[2]]),
            row["default"],
            (*(row["choices"] or ()), *(row.get("choices_from_1.4", ()) if era == eras.ERAS[3] else ())),
            row["multiple"],
            row["status"],
        )
        for row in eras.facts("serve_flags")["flags"]
        if eras.has(row["spellings"], era)
    ]


def _usage(command: str, arguments: str) -> str:
    return f"Usage: {command} {arguments}\nTry '{command} --help' for help."


_GROUP = _usage("trtllm-serve", "[OPTIONS] COMMAND [ARGS]...")
_SERVE = _usage("trtllm-serve serve", "[OPTIONS] MODEL")


def _unknown(name: str, known: list[str]) -> str:
    close = sorted(difflib.get_close_matches(name, known))
    if not close:
        return f"No such option: {name}"
    if len(close) == 1:
        return f"No such option: {name} Did you mean {close[0]}?"
    return f"No such option: {name} (Possible options: {', '.join(close)})"


def _convert(option: Option, text: str) -> Any:
    words = {"int": ("integer", int), "float": ("float", float)}
    if option.kind in words:
        word, convert = words[option.kind]
        try:
            return convert(text)
        except ValueError:
            raise RefusedError(f"Invalid value for {option.hint}: '{text}' is not a valid {word}.", _SERVE) from None
    if option.choices and text not in option.choices:
        choices = ", ".join(f"'{choice}'" for choice in option.choices)
        raise RefusedError(f"Invalid value for {option.hint}: '{text}' is not one of {choices}.", _SERVE)
    return text


def help_text(era: str) -> str:
    """What ``trtllm-serve serve --help`` prints, in the layout of Click."""
    lines = ["Usage: trtllm-serve serve [OPTIONS] MODEL", "", f"  SIMULATED: the options of era {era}.", "", "Options:"]
    for option in options(era):
        lines += _definition(_spelled(option), f"[{option.status}] SIMULATED: {option.dest}.")
    return "\n".join([*lines, *_definition("--help", "Show this message and exit.")])


def _spelled(option: Option) -> str:
    """An option's first column: its names, those that switch it off behind a slash, and what it takes."""
    no = [name for name in option.names if name.startswith("--no-")]
    names = ", ".join(name for name in option.names if name not in no)
    both = " / ".join(part for part in (names, ", ".join(no)) if part)
    taken = f"[{'|'.join(option.choices)}]" if option.choices else _METAVARS.get(option.kind, "TEXT")
    return f"{both} {taken}".strip()


def _definition(first: str, about: str) -> list[str]:
    """One line, or two where the first column is too narrow."""
    if len(first) + 4 > _COLUMN:
        return [f"  {first}", f"{'':{_COLUMN}}{about}"]
    return [f"  {first:{_COLUMN - 2}}{about}"]


def parse(arguments: list[str], era: str) -> Served:
    """Read a command line as Click does: long options only, no abbreviations, anywhere around MODEL."""
    if not arguments or arguments[0] == "--help":
        text = f"Usage: trtllm-serve [OPTIONS] COMMAND [ARGS]...\n\nCommands:\n  {'  '.join(COMMANDS)}"
        raise RefusedError(text, status=0 if arguments else 2)
    if arguments[0].startswith("-"):
        raise RefusedError(f"No such option: {arguments[0].partition('=')[0]}", _GROUP)
    if arguments[0] in COMMANDS:
        if arguments[0] != "serve":
            raise RefusedError(f"a virtual Spark's stand-in does not simulate '{arguments[0]}'.", _GROUP)
        arguments = arguments[1:]
    known = {name: option for option in options(era) for name in option.names}
    given: list[tuple[Option, str, Any]] = []
    positional: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            positional += rest
            break
        if not word.startswith("-") or word == "-":
            positional.append(word)
            continue
        name, equals, value = word.partition("=")
        if name == "--help":
            raise RefusedError(help_text(era), status=0)
        option = known.get(name)
        if option is None:
            raise RefusedError(_unknown(name, [*known, "--help"]), _SERVE)
        if option.kind == "flag":
            if equals:
                raise RefusedError(f"Option '{name}' does not take a value.", _SERVE)
            given.append((option, name, not name.startswith("--no-")))
            continue
        if not equals:
            if not rest:
                raise RefusedError(f"Option '{name}' requires an argument.", _SERVE)
            value = rest.pop(0)
        given.append((option, name, value))
    if not positional:
        raise RefusedError("Missing argument 'MODEL'.", _SERVE)
    values: dict[str, Any] = {option.dest: option.default for option in known.values()}
    for option, _name, value in given:
        converted = _convert(option, value) if isinstance(value, str) else value
        values[option.dest] = [*(values[option.dest] or []), converted] if option.multiple else converted
    if len(positional) > 1:
        plural = "s" if len(positional) > 2 else ""
        raise RefusedError(f"Got unexpected extra argument{plural} ({' '.join(positional[1:])})", _SERVE)
    return Served(positional[0], values)
