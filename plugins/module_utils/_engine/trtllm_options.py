# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the settings of TensorRT-LLM before anything is started with them. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, Iterable, Iterator, List, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_cli import ERAS, FLAGS, KEYS, OPEN

#: what the role itself says to trtllm-serve, and what to set instead
OWNED = {
    "host": "engine_serve_api_host",
    "port": "engine_serve_api_port",
    "extra_llm_api_options": "trtllm_serve_options",
}
#: which key of the YAML says the same as a flag, where they do not go by one name
NESTED = {
    "free_gpu_memory_fraction": "kv_cache_config.free_gpu_memory_fraction",
    "kv_cache_dtype": "kv_cache_config.dtype",
}
#: what else is written as true and as false in a YAML file that pydantic reads
TRUE, FALSE = {"true", "1", "yes", "on", "t", "y"}, {"false", "0", "no", "off", "f", "n"}
#: whose value is taken in any case
ANY_CASE = {"load_format"}

Problems = List[str]


def era_of(version: str) -> str:
    """The era of a version of TensorRT-LLM; all of them where the version does not tell.

    >>> [era_of(version) for version in ("1.2.1", "1.3.0rc5", "1.3.0", "1.4.0rc1", "any")]
    ['A', 'B', 'C', 'C', 'ABC']
    """
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)(rc\d+)?$", version)
    if not found:
        return "".join(ERAS)
    number = (int(found[1]), int(found[2]))
    if number < (1, 3):
        return "A"
    return "B" if number == (1, 3) and found[4] else "C"


def version_of(image: str) -> str:
    """The tag of an image; empty where it has none.

    >>> version_of("nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5"), version_of("localhost:5000/release@sha256:12")
    ('1.3.0rc5', '')
    """
    name = image.split("@")[0].rsplit("/", 1)[-1]
    return name.partition(":")[2]


def _eras(letters: str) -> str:
    return " and ".join(ERAS[letter] for letter in letters)


def _of_another_era(kind: str, name: str, eras: str, era: str) -> str:
    # The versions between two transcriptions may take what only the later one has.
    return (
        f"{name} is a {kind} of TensorRT-LLM {_eras(eras)}, and the image is {_eras(era)} "
        "(if that takes it all the same, set trtllm_serve_version: any)"
    )


def _unknown(word: str, name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"{name} is no {word} of TensorRT-LLM's{f'; did you mean {close[0]}?' if close else ''}"


def flatten(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted keys of nested options with their values. A key below which anything goes is a leaf.

    >>> list(flatten({"a": {"b": 1, "c": {}}, "d": None}))
    [('a.b', 1), ('a.c', {}), ('d', None)]
    """
    for name, value in options.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and value and key not in KEYS:
            yield from flatten(value, f"{key}.")
        else:
            yield key, value


def _value_problem(name: str, kind: str, choices: Sequence[str], value: Any) -> str:
    """What a value must be and is not; empty where it will do. Goes by what pydantic and Click take."""
    container, _bracket, inner = kind.partition("[")
    if container in ("list", "set"):
        if not isinstance(value, (list, tuple)):
            return "must be a list"
        wrong = (_value_problem(name, inner.rstrip("]"), choices, one) for one in value if inner)
        return next((f"has an element that {problem}" for problem in wrong if problem), "")
    if container == "dict":
        return "" if isinstance(value, dict) else "must be a mapping"
    if choices:
        word = str(value).lower() if name in ANY_CASE else value
        return "" if word in choices else f"must be one of {', '.join(choices)}"
    if kind in ("bool", "flag", "bool or 'auto'"):
        fits = str(value).lower() in TRUE | FALSE or (kind.endswith("'auto'") and value == "auto")
        return "" if fits else "must be true or false"
    if kind in ("int", "float"):
        try:
            number = float(value)
        except (TypeError, ValueError):
            return "must be a number"
        return "must be a whole number" if kind == "int" and not number.is_integer() else ""
    return "must be a string" if kind == "str" and not isinstance(value, str) else ""


def check_options(options: Mapping[str, Any], era: str) -> Problems:
    """One sentence for every key and value of the YAML that this era of TensorRT-LLM would refuse.

    :param era: letters of :data:`ERAS`; with several, what any of them takes will do.
    """
    groups = {".".join(key.split(".")[:depth]) for key in KEYS for depth in range(1, key.count(".") + 1)}
    problems = []
    for name, value in flatten(options):
        key = KEYS.get(name)
        if key is None:
            if name in groups:
                if value not in (None, {}):
                    problems.append(f"{name} must be a mapping, and is {value!r}")
            elif not name.startswith(tuple(OPEN)):
                problems.append(_unknown("key", name, {*KEYS, *groups}))
        elif not set(key.eras) & set(era):
            problems.append(_of_another_era("key", name, key.eras, era))
        else:
            wrong = "" if value is None else _value_problem(name, key.kind, key.choices, value)
            problems += [f"{name} {wrong}, and is {value!r}"] if wrong else []
    return problems


def _argument_problem(name: str, value: Any, options: Mapping[str, Any], era: str) -> str:
    flag = FLAGS.get(name)
    if flag is None:
        return _unknown("flag", name, FLAGS)
    if flag.option in OWNED:
        return f"{name} is set by the role: set {OWNED[flag.option]} instead"
    if not set(flag.eras) & set(era):
        return _of_another_era("flag", name, flag.eras, era)
    text = str(value)
    wrong = "" if flag.kind in ("str", "path") else _value_problem(name, flag.kind, flag.choices, value)
    if flag.kind == "float" and isinstance(value, bool):  # 1.0 in YAML, and no number on a command line
        wrong = "must be a number"
    if not wrong and flag.kind == "int" and not re.match(r"[+-]?[0-9]+$", text):
        wrong = "must be a whole number"
    if wrong:
        return f"{name} {wrong}, and is {value!r}"
    if not re.match(r"[A-Za-z0-9_.,:/@%+=-]+$", text):
        return (
            f"{name} is {value!r}: trtllm-llmapi-launch splits what it starts at blanks and expands what a shell "
            "would; say it in trtllm_serve_options"
        )
    key = NESTED.get(flag.option, flag.option)
    keys = {**options, **dict(flatten(options))}
    if key in keys and str(keys[key]) != text:
        return (
            f"{name} is {value!r} in trtllm_serve_arguments, and {key} is {keys[key]!r} in trtllm_serve_options or by "
            f"the role's default, which wins: say it as {key} there alone, with {name}: null in trtllm_serve_arguments"
        )
    return ""


def check_arguments(arguments: Mapping[str, Any], options: Mapping[str, Any], era: str) -> Problems:
    """The same for flags of ``trtllm-serve``; and for what the YAML, which wins, says differently.

    A flag that is null is left out.
    """
    given = {name: value for name, value in arguments.items() if value is not None or name not in FLAGS}
    problems = (_argument_problem(name, value, options, era) for name, value in given.items())
    return [problem for problem in problems if problem]


def size(name: str, arguments: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """How many ways ``tensor_parallel_size`` or another such size splits the model, whichever way it is said."""
    said = [value for spelling, value in arguments.items() if spelling in FLAGS and FLAGS[spelling].option == name]
    return int(options.get(name) or next(iter(said), None) or 1)


def render(arguments: Mapping[str, Any]) -> list[str]:
    """The flags of a command line, by name.

    >>> render({"tp_size": 2, "trust_remote_code": True, "enable_chunked_prefill": False})
    ['--tp_size', '2', '--trust_remote_code']
    """
    argv: list[str] = []
    for name in sorted(arguments):
        value = arguments[name]
        if value is None:
            continue
        if FLAGS[name].kind != "flag":
            argv += [f"--{name}", str(value)]
        elif str(value).lower() in TRUE:
            argv.append(f"--{name}")
    return argv
