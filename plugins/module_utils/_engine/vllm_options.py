# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the arguments of vLLM before anything is started with them, and make its command line of them. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import Any, Iterable, Iterator, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.findings import Finding, shown
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.vllm_cli import FLAGS, VERSION, Flag

OPTION = "vllm_serve_arguments"
#: what the roles and the supervisor say to vLLM themselves, and what to do instead
OWNED = {
    "host": "set engine_serve_api_host",
    "port": "set engine_serve_api_port",
    "uds": "set engine_serve_api_host",
    "model": "set spark_model",
    "nnodes": "it is the number of Sparks",
    "node-rank": "it is the order of the Sparks in the inventory",
    "master-addr": "it is the leader's control address",
    "master-port": "the supervisor takes a free one at each start",
    "headless": "the supervisor says it to all nodes but the first",
    "distributed-executor-backend": "the supervisor starts a process on every node, without Ray",
    "shutdown-timeout": "stop.yml and restart.yml wait for requests (spark_drain_seconds)",
    "disable-log-stats": "the supervisor tells a busy engine from a dead one by these figures",
    "api-server-count": "one server answers on the leader, and workers have none",
    "grpc": "the supervisor asks for tokens over HTTP",
    "config": f"say each argument in {OPTION}, where it is checked",
}
#: likewise all whose names begin so
OWNED_BEGINNINGS = {
    "data-parallel": "each Spark has one rank of one copy of the model: serve another instance for another copy",
    "ssl-": "the API gateway answers by TLS (docs/clients.md)",
}
SECRETS = {"api-key": "the API gateway asks for keys (playbooks/api_keys.yml)", "hf-token": "the engine runs offline"}

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*", re.ASCII)
_SIZE = re.compile(r"-?\d+(?:\.\d+)?[kKmMgGtT]?", re.ASCII)
_TYPO = 0.85  # likeness of two names from which on one is taken for the other, misspelt
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_WORDS = {
    "flag": "true or false",
    "switch": "true or false",
    "int": "a whole number",
    "float": "a number",
    "size": "a whole number, or one such as 16k or 2G",
    "json": "a mapping",
    "list": "a list",
}


def canonical(name: str, flags: Mapping[str, Flag] | None = None) -> str:
    """The long name of a flag, with dashes, as vLLM's parser makes it of one with underscores.

    :param flags: those that the image's parser has; else those of the version that was read.

    >>> canonical("max_model_len"), canonical("tp"), canonical("--no-enable-prefix-caching")
    ('max-model-len', 'tensor-parallel-size', 'no-enable-prefix-caching')
    """
    known, plain = flags or FLAGS, name.lstrip("-").replace("_", "-")
    if plain in known:
        return plain
    return next((long for long, flag in known.items() if plain in flag.short), plain)


def _split(name: str, flags: Mapping[str, Flag]) -> tuple[str, str]:
    """A flag's long name, and the key below it where it is one such as ``compilation_config.mode``."""
    plain, _dot, key = name.partition(".")
    return canonical(plain, flags), key


def findings(arguments: Mapping[str, Any], told: Mapping[str, Flag] | None = None) -> Iterator[Finding]:
    """What is wrong with the arguments, or may be.

    :param told: the flags of the image, where it has said them; else the table's judge, of one version, and what that
        does not have may be in another.
    """
    flags = told or FLAGS
    yield from _disagreements(arguments, flags)
    for name, value in arguments.items():
        if value is not None:
            yield from _of_one(str(name), value, flags, bool(told))


def _of_one(name: str, value: Any, flags: Mapping[str, Flag], certain: bool) -> Iterator[Finding]:
    long, key = _split(name, flags)
    base = long[3:] if long.startswith("no-") and long not in flags else long
    owned = OWNED.get(base) or next((why for begins, why in OWNED_BEGINNINGS.items() if base.startswith(begins)), "")
    if base in SECRETS:
        yield Finding(
            f"{name} is a secret, which others could read in 'docker inspect': leave it out, since {SECRETS[base]}"
        )
    elif owned:
        yield Finding(f"{name} is set by the role: leave it out of {OPTION}; {owned}")
    elif base not in flags:
        yield _unknown(name, base, flags, certain)
    elif base != long and flags[base].kind != "switch":
        yield Finding(f"{name} is no flag of vLLM's: {base} is, and takes {_WORDS.get(flags[base].kind, 'a value')}")
    elif base != long:
        yield Finding(f"{name} says the contrary of {base}: say {base.replace('-', '_')} with true or false")
    elif key and flags[base].kind != "json":
        yield Finding(f"{name} is a key below {base}, which takes no mapping")
    elif not key:
        yield from _value_findings(name, value, flags[base], certain)


def _unknown(name: str, base: str, flags: Mapping[str, Flag], certain: bool) -> Finding:
    close = difflib.get_close_matches(base, flags, n=1)
    meant = f"did you mean {close[0].replace('-', '_')}?" if close else ""
    if not _NAME.fullmatch(base):
        return Finding(f"{name!r} is no name of a flag")
    if certain:
        return Finding(f"{name} is no flag of the image's vllm serve, as it says itself{f'; {meant}' if meant else ''}")
    if difflib.get_close_matches(base, flags, n=1, cutoff=_TYPO):
        return Finding(f"{name} is no flag of vLLM {VERSION}; {meant}")
    text = f"{name} is no flag of vLLM {VERSION}{f' ({meant})' if meant else ''}"
    return Finding(f"{text}: take it out if the engine refuses it when it starts", refused=False)


def _value_findings(name: str, value: Any, flag: Flag, certain: bool) -> Iterator[Finding]:
    problem = value_problem(flag, value)
    if problem:
        yield Finding(f"{name} must be {problem}, and is {shown(name, value)}")
    elif flag.choices and flag.kind != "list" and str(value) not in flag.choices:
        text = f"{name} must be one of {', '.join(flag.choices)}"
        if certain:
            yield Finding(f"{text}, and is {shown(name, value)}")
        else:
            doubt = f"which vLLM {VERSION} does not take: take it out if the engine refuses it when it starts"
            yield Finding(f"{text}, as far as is known, and is {shown(name, value)}, {doubt}", refused=False)


def value_problem(flag: Flag, value: Any) -> str:
    """What a value must be and is not; empty where it will do.

    >>> value_problem(Flag("int"), "8k"), value_problem(Flag("size"), "8k"), value_problem(Flag("switch"), "maybe")
    ('a whole number', '', 'true or false')
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
    elif flag.kind == "size":
        fits = bool(_SIZE.fullmatch(text)) or text in flag.words
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


def _disagreements(arguments: Mapping[str, Any], flags: Mapping[str, Flag]) -> Iterator[Finding]:
    said: dict[str, str] = {}
    for name, value in arguments.items():
        if value is None:
            continue
        other = said.setdefault(".".join(filter(None, _split(str(name), flags))), str(name))
        if other != str(name):
            yield Finding(f"{other} and {name} are two spellings of one flag: keep one of them in {OPTION}")


def said(arguments: Mapping[str, Any], name: str) -> Any:
    """The value of a flag by whichever spelling; None where nobody has said it."""
    found = (value for one, value in arguments.items() if canonical(str(one)) == name and value is not None)
    return next(found, None)


def whole(value: Any, default: int) -> int:
    """A value as a number; the default where it is none: what is no number is refused by name elsewhere.

    >>> whole("2", 1), whole(None, 1), whole("many", 0)
    (2, 1, 0)
    """
    text = str(value)
    return default if value is None else int(text) if re.fullmatch(r"\d+", text, re.ASCII) else 0


def render(arguments: Mapping[str, Any], told: Mapping[str, Flag] | None = None) -> list[str]:
    """The flags of a command line, by name.

    >>> render({"tp": 2, "enable_prefix_caching": False, "async_scheduling": True, "seed": None})
    ['--async-scheduling', '--no-enable-prefix-caching', '--tensor-parallel-size', '2']
    >>> render({"served_model_name": ["a", "b"], "compilation_config": {"mode": 3}, "seed": -1})
    ['--compilation-config', '{"mode": 3}', '--seed=-1', '--served-model-name', 'a', 'b']
    """
    return [word for words in sorted(_rendered(arguments, told or FLAGS)) for word in words]


def _rendered(arguments: Mapping[str, Any], flags: Mapping[str, Flag]) -> Iterable[list[str]]:
    for name, value in arguments.items():
        long, key = _split(str(name), flags)
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
