# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flags of an engine whose command line is all of its configuration: check and render them. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass, field
from typing import Any, Iterable, Iterator, Mapping, NamedTuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.findings import Finding, shown


class Flag(NamedTuple):
    """An option of an engine's program.

    ``kind``: ``int``, ``float``, ``str``, ``size``, a number that may end with k or G, ``si``, one that may end with k,
    G or Ki, ``json``, ``list``, of several words, ``flag``, which takes no value, or ``switch``, which has a contrary
    that begins with ``no-``.
    """

    kind: str
    choices: tuple[str, ...] = ()
    short: tuple[str, ...] = ()  # other names, without dashes
    words: tuple[str, ...] = ()  # that it takes instead of a number


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*", re.ASCII)
_SIZES = {
    "size": re.compile(r"-?\d+(?:\.\d+)?[kKmMgGtT]?", re.ASCII),
    "si": re.compile(r"-?\d+|\d+(?:\.\d+)?[kMGT]|\d+[KMGT]i", re.ASCII),
}
_TYPO = 0.85  # likeness of two names from which on one is taken for the other, misspelt
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_WORDS = {
    "flag": "true or false",
    "switch": "true or false",
    "int": "a whole number",
    "float": "a number",
    "size": "a whole number, or one such as 16k or 2G",
    "si": "a whole number, or one such as 16k or 16Ki",
    "json": "a mapping",
    "list": "a list",
}


@dataclass(frozen=True)
class Parser:
    """An engine's parser of arguments, as far as it is known, and what of it is not for people.

    Flags are named as people do: without the dashes before them, and with underscores for those within.
    """

    title: str  # of the engine
    program: str
    version: str  # of the engine, whose flags these are
    flags: Mapping[str, Flag]
    option: str  # by which people say arguments
    owned: Mapping[str, str]  # what the roles and the supervisor say themselves, and what to do instead
    owned_beginnings: Mapping[str, str] = field(default_factory=dict)  # likewise all whose names begin so
    secrets: Mapping[str, str] = field(default_factory=dict)  # what others could read, and what to do instead

    def canonical(self, name: str, told: Mapping[str, Flag] | None = None) -> str:
        """The long name of a flag, with dashes. :param told: the flags of the image, where it has said them."""
        known, plain = told or self.flags, name.lstrip("-").replace("_", "-")
        if plain in known:
            return plain
        return next((long for long, flag in known.items() if plain in flag.short), plain)

    def _split(self, name: str, told: Mapping[str, Flag] | None) -> tuple[str, str]:
        """A flag's long name, and the key below it where it is one such as ``compilation_config.mode``."""
        plain, _dot, key = name.partition(".")
        return self.canonical(plain, told), key

    def findings(self, arguments: Mapping[str, Any], told: Mapping[str, Flag] | None = None) -> Iterator[Finding]:
        """What is wrong with the arguments, or may be.

        :param told: the flags of the image, where it has said them; else the table's judge, of one version, and what
            that does not have may be in another.
        """
        yield from self._disagreements(arguments, told)
        for name, value in arguments.items():
            if value is not None:
                yield from self._of_one(str(name), value, told)

    def _of_one(self, name: str, value: Any, told: Mapping[str, Flag] | None) -> Iterator[Finding]:
        flags = told or self.flags
        long, key = self._split(name, told)
        base = long[3:] if long.startswith("no-") and long not in flags else long
        if base in self.secrets:
            why = self.secrets[base]
            yield Finding(f"{name} is a secret, which others could read in 'docker inspect': leave it out, since {why}")
        elif owned := self.owner(base):
            yield Finding(f"{name} is set by the role: leave it out of {self.option}; {owned}")
        elif base not in flags:
            yield self._unknown(name, base, told)
        elif base != long and flags[base].kind != "switch":
            takes = _WORDS.get(flags[base].kind, "a value")
            yield Finding(f"{name} is no flag of {self.title}'s: {base} is, and takes {takes}")
        elif base != long:
            yield Finding(f"{name} says the contrary of {base}: say {base.replace('-', '_')} with true or false")
        elif key and flags[base].kind != "json":
            yield Finding(f"{name} is a key below {base}, which takes no mapping")
        elif not key:
            yield from self._value_findings(name, value, flags[base], bool(told))

    def owner(self, name: str) -> str:
        """What to do instead of saying a flag that is not for people; empty for all others."""
        begins = (why for beginning, why in self.owned_beginnings.items() if name.startswith(beginning))
        return self.owned.get(name) or next(begins, "")

    def _unknown(self, name: str, base: str, told: Mapping[str, Flag] | None) -> Finding:
        flags = told or self.flags
        close = difflib.get_close_matches(base, flags, n=1)
        meant = f"did you mean {close[0].replace('-', '_')}?" if close else ""
        if not _NAME.fullmatch(base):
            return Finding(f"{name!r} is no name of a flag")
        if told:
            also = f"; {meant}" if meant else ""
            return Finding(f"{name} is no flag of the image's {self.program}, as it says itself{also}")
        if difflib.get_close_matches(base, flags, n=1, cutoff=_TYPO):
            return Finding(f"{name} is no flag of {self.title} {self.version}; {meant}")
        text = f"{name} is no flag of {self.title} {self.version}{f' ({meant})' if meant else ''}"
        return Finding(f"{text}: take it out if the engine refuses it when it starts", refused=False)

    def _value_findings(self, name: str, value: Any, flag: Flag, certain: bool) -> Iterator[Finding]:
        problem = value_problem(flag, value)
        if problem:
            yield Finding(f"{name} must be {problem}, and is {shown(name, value)}")
        elif flag.choices and flag.kind != "list" and str(value) not in flag.choices:
            text = f"{name} must be one of {', '.join(flag.choices)}"
            if certain:
                yield Finding(f"{text}, and is {shown(name, value)}")
            else:
                other = f"which {self.title} {self.version} does not take"
                doubt = f"{other}: take it out if the engine refuses it when it starts"
                yield Finding(f"{text}, as far as is known, and is {shown(name, value)}, {doubt}", refused=False)

    def _disagreements(self, arguments: Mapping[str, Any], told: Mapping[str, Flag] | None) -> Iterator[Finding]:
        said: dict[str, str] = {}
        for name, value in arguments.items():
            if value is None:
                continue
            other = said.setdefault(".".join(filter(None, self._split(str(name), told))), str(name))
            if other != str(name):
                yield Finding(f"{other} and {name} are two spellings of one flag: keep one of them in {self.option}")

    def said(self, arguments: Mapping[str, Any], name: str) -> Any:
        """The value of a flag by whichever spelling; None where nobody has said it."""
        found = (value for one, value in arguments.items() if self.canonical(str(one)) == name and value is not None)
        return next(found, None)

    def render(self, arguments: Mapping[str, Any], told: Mapping[str, Flag] | None = None) -> list[str]:
        """The flags of a command line, by name."""
        return [word for words in sorted(self._rendered(arguments, told)) for word in words]

    def _rendered(self, arguments: Mapping[str, Any], told: Mapping[str, Flag] | None) -> Iterable[list[str]]:
        flags = told or self.flags
        for name, value in arguments.items():
            long, key = self._split(str(name), told)
            kind = flags[long].kind if long in flags else "switch" if isinstance(value, bool) else ""
            flag = f"--{long}{f'.{key}' if key else ''}"
            if value is None:
                continue
            if kind in ("flag", "switch") and not key:
                is_on = str(value).lower() in _TRUE
                if is_on or kind == "switch":
                    yield [flag if is_on else f"--no-{long}"]
            elif isinstance(value, Mapping) or kind == "json" or (isinstance(value, list) and kind != "list"):
                yield [flag, value if isinstance(value, str) else json.dumps(value, sort_keys=True)]
            elif kind == "list":
                yield [flag, *map(str, _items(value))]
            else:
                yield [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]


def value_problem(flag: Flag, value: Any) -> str:
    """What a value must be and is not; empty where it will do.

    >>> value_problem(Flag("int"), "8k"), value_problem(Flag("size"), "8k"), value_problem(Flag("switch"), "maybe")
    ('a whole number', '', 'true or false')
    >>> value_problem(Flag("si"), "16Ki"), value_problem(Flag("si"), "16K")
    ('', 'a whole number, or one such as 16k or 16Ki')
    """
    fits = True
    text = str(value)
    if flag.kind in ("flag", "switch"):
        fits = text.lower() in (*_TRUE, *_FALSE)
    elif flag.kind == "list":
        fits = not isinstance(value, Mapping) and all(_is_word(one) for one in _items(value))
    elif flag.kind == "json":
        fits = isinstance(value, (Mapping, list)) or _is_word(value)
    elif isinstance(value, (Mapping, list, bool)):
        return _WORDS.get(flag.kind, "a string")
    elif flag.kind == "int":
        fits = bool(re.fullmatch(r"[+-]?\d+", text, re.ASCII))
    elif flag.kind in _SIZES:
        fits = bool(_SIZES[flag.kind].fullmatch(text)) or text in flag.words
    elif flag.kind == "float":
        fits = _is_number(text)
    return "" if fits and "\0" not in text else _WORDS.get(flag.kind, "a string")


def _is_number(text: str) -> bool:
    try:
        return bool(float(text) == float(text))
    except ValueError:
        return False


def _is_word(value: Any) -> bool:
    """Whether a value is one that a parser does not take for a flag."""
    return isinstance(value, (str, int, float)) and not isinstance(value, bool) and not str(value).startswith("-")


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


_TIMES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def number(value: Any) -> int:
    """A size as a number, 0 where it is none: ``k`` is a thousand, ``K`` and ``Ki`` are 1024.

    >>> number("16k"), number("16Ki"), number(8192), number("auto"), number(None)
    (16000, 16384, 8192, 0, 0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:([kmgtKMGT])i?)?", str(value), re.ASCII)
    return int(float(found[1]) * _TIMES.get(found[2], 1)) if found else 0


def whole(value: Any, default: int) -> int:
    """A value as a number; the default where it is none: what is no number is refused by name elsewhere.

    >>> whole("2", 1), whole(None, 1), whole("many", 0)
    (2, 1, 0)
    """
    text = str(value)
    return default if value is None else int(text) if re.fullmatch(r"\d+", text, re.ASCII) else 0
