# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the settings of TensorRT-LLM before anything is started with them. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, Iterable, Iterator, List, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_cli import (
    ERAS,
    FLAGS,
    KEYS,
    OPEN,
    Flag,
    Key,
)

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
_ONE_OF = "must be one of"
_FLAG = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)

#: the backend with keys and sizes of its own, which no table has
AUTODEPLOY = "_autodeploy"
#: the version of era A of which the table is; the later ones may have what the next table has
TRANSCRIBED = (1, 2, 0, 1)
#: the version up to which the newest table goes; what the later ones have besides, nothing here tells
NEWEST = (1, 3, 0, 25)
_TYPO = 0.85  # likeness of two names from which on one is taken for the other, misspelt

# 1.2.0rc6.post3, 1.3.0rc26.dev202609010000, v1.2.1, 1.3.0rc13-arm64; two numbers alone, as YAML makes of 1.3
_VERSION = re.compile(
    r"v?(?P<number>\d+\.\d+(?:\.\d+)?)(?:[-_.]?rc(?P<rc>\d+))?(?P<post>[-_.]?post\d+)?(?P<dev>[-_.]?dev\d+)?"
    r"(?P<suffix>[-+_][\w.+-]*)?",
    re.ASCII | re.IGNORECASE,
)
_CALENDAR = 20  # a first number from here on is a year, as in the tags of NVIDIA's other images

Problems = List[str]


class Version(NamedTuple):
    """A version of TensorRT-LLM. ``candidate``: of a release candidate, and -1 of what comes before them."""

    major: int
    minor: int
    patch: int
    candidate: float


class Finding(NamedTuple):
    """What is wrong with a setting, or may be. ``refused``: the engine would not start with it."""

    text: str
    refused: bool = True


def parse_version(version: str) -> Version | None:
    """Return the numbers of a version, None where it tells none. What follows them, such as ``.post3``, is left out.

    >>> parse_version("1.2.0rc6.post3"), parse_version("v1.2.1-arm64"), parse_version("25.08-py3")
    (Version(major=1, minor=2, patch=0, candidate=6), Version(major=1, minor=2, patch=1, candidate=inf), None)
    """
    found = _VERSION.fullmatch(version.strip())
    numbers = [int(one) for one in found["number"].split(".")] if found else []
    if not found or numbers[0] >= _CALENDAR or (len(numbers) == 2 and found["suffix"]):
        return None
    early = -1 if found["dev"] and not found["post"] else float("inf")
    candidate = int(found["rc"]) if found["rc"] else early
    return Version(numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else 0, candidate)


def era_of(version: str) -> str:
    """The era of a version of TensorRT-LLM; all of them where the version does not tell.

    >>> [era_of(version) for version in ("1.2.0rc6.post3", "1.3.0rc5", "1.3.0", "1.4.0rc1.dev20261101", "any")]
    ['A', 'B', 'C', 'C', 'ABC']
    """
    number = parse_version(version)
    if number is None:
        return "".join(ERAS)
    if number[:2] < (1, 3):
        return "A"
    return "B" if number[:3] == (1, 3, 0) and number.candidate != float("inf") else "C"


def eras_of(version: str) -> str:
    """The eras from which a version may have its flags and keys.

    A table is that of one commit: what the next one has came in the release candidates between, one cannot tell which.

    >>> [eras_of(version) for version in ("1.1.0", "1.2.0rc1", "1.2.0rc6.post3", "1.2.1", "1.3.0rc5", "1.3.0", "any")]
    ['A', 'A', 'AB', 'AB', 'BC', 'C', 'ABC']
    """
    number, era = parse_version(version), era_of(version)
    if era == "B":
        return "BC"
    return "AB" if number and era == "A" and number > TRANSCRIBED else era


def is_newer(version: str) -> bool:
    """Whether a version may have flags and keys that no table has.

    >>> [is_newer(version) for version in ("1.3.0rc25", "1.3.0rc26.dev202609010000", "1.4.0rc0", "any")]
    [False, True, True, True]
    """
    number = parse_version(version)
    return number is None or number > NEWEST


def metrics_follow(version: str, image: str) -> bool:
    """Whether ``/metrics`` does not end while there is something new to tell, as it was before TensorRT-LLM 1.3.

    :param version: as it was said; where that tells none, as ``any``, the image's tag does.
    """
    number = parse_version(version) or parse_version(version_of(image))
    return number is not None and number[:2] < (1, 3)


def version_of(image: str) -> str:
    """The tag of an image; empty where it has none.

    >>> version_of("nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5"), version_of("localhost:5000/release@sha256:12")
    ('1.3.0rc5', '')
    """
    name = image.split("@")[0].rsplit("/", 1)[-1]
    return name.partition(":")[2]


def _eras(letters: str) -> str:
    return " and ".join(ERAS[letter] for letter in letters)


_ANYWAY = "(if the image takes it all the same, set trtllm_serve_version: any)"


def _era_findings(kind: str, name: str, eras: str, era: str) -> Iterator[Finding]:
    shared = set(eras) & set(era)
    if not shared:
        yield Finding(f"{name} is a {kind} of TensorRT-LLM {_eras(eras)}, and the image is {_eras(era)} {_ANYWAY}")
    elif shared != set(era) and len(era) < len(ERAS):
        where = _eras("".join(sorted(shared)))
        yield Finding(
            f"{name} is a {kind} of TensorRT-LLM {where}, and no table tells whether the image's version has it: "
            "take it out if the engine refuses it when it starts",
            refused=False,
        )


def _is_misspelt(name: str, known: Iterable[str]) -> bool:
    group, _dot, leaf = name.rpartition(".")
    beside = [one.rpartition(".")[2] for one in known if one.rpartition(".")[0] == group]
    return bool(difflib.get_close_matches(leaf, beside, n=1, cutoff=_TYPO))


def _unknown(word: str, name: str, known: Iterable[str], era: str, newer: bool) -> Finding:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    if len(era) == len(ERAS) or (newer and not _is_misspelt(name, known)):
        meant = f" (did you mean {close[0]}?)" if close else ""
        return Finding(
            f"{name} is no {word} that is known of any TensorRT-LLM{meant}: take it out if the engine refuses it when "
            "it starts",
            refused=False,
        )
    return Finding(f"{name} is no {word} of TensorRT-LLM's{f'; did you mean {close[0]}?' if close else ''} {_ANYWAY}")


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
        return "" if word in choices else f"{_ONE_OF} {', '.join(choices)}"
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


def _value_findings(name: str, known: Flag | Key, value: Any, newer: bool) -> Iterator[Finding]:
    wrong = _value_problem(name, known.kind, known.choices, value)
    if wrong and _ONE_OF in wrong:  # a later version may have one more
        words = all(isinstance(one, str) for one in (value if isinstance(value, list) else [value]))
        doubted = words and newer
        yield Finding(f"{name} {wrong}, and is {value!r} {'' if doubted else _ANYWAY}".rstrip(), refused=not doubted)
    elif wrong:
        yield Finding(f"{name} {wrong}, and is {value!r}")


def options_findings(options: Mapping[str, Any], era: str, newer: bool | None = None) -> Iterator[Finding]:
    """What is wrong with the YAML, or may be, for images of an era.

    :param era: letters of :data:`ERAS`; with several, what any of them takes will do, and with all of them what no
        table has is not refused. :param newer: whether the image may have what no table has, so that only what looks
        misspelt is refused.
    """
    newer = len(era) == len(ERAS) if newer is None else newer
    groups = {".".join(key.split(".")[:depth]) for key in KEYS for depth in range(1, key.count(".") + 1)}
    for name, value in flatten(options):
        key = KEYS.get(name)
        if key is not None:
            findings = list(_era_findings("key", name, key.eras, era))
            yield from findings
            if value is not None and not any(finding.refused for finding in findings):
                yield from _value_findings(name, key, value, newer)
        elif name in groups:
            if value not in (None, {}):
                yield Finding(f"{name} must be a mapping, and is {value!r}")
        elif not name.startswith(tuple(OPEN)):
            yield _unknown("key", name, sorted({*KEYS, *groups}), era, newer)


def check_options(options: Mapping[str, Any], era: str) -> Problems:
    """One sentence for every key and value of the YAML that this era of TensorRT-LLM would refuse."""
    return [finding.text for finding in options_findings(options, era) if finding.refused]


def _word_problem(name: str, value: Any) -> str:
    if re.fullmatch(r"[A-Za-z0-9_.,:/@%+=-]+", str(value)):
        return ""
    return (
        f"{name} is {value!r}: trtllm-llmapi-launch splits what it starts at blanks and expands what a shell "
        "would; say it in trtllm_serve_options"
    )


def _flag_findings(name: str, value: Any, options: Mapping[str, Any], era: str, newer: bool) -> Iterator[Finding]:
    flag = FLAGS.get(name)
    if flag is None:
        yield _unknown("flag", name, FLAGS, era, newer)
        problem = _word_problem(name, value) or ("" if _FLAG.fullmatch(name) else f"{name!r} is no name of a flag")
        if problem:
            yield Finding(problem)
        return
    if flag.option in OWNED:
        yield Finding(f"{name} is set by the role: set {OWNED[flag.option]} instead")
        return
    findings = list(_era_findings("flag", name, flag.eras, era))
    if findings:
        known = [other for other, its in FLAGS.items() if its.option == flag.option and set(era) <= set(its.eras)]
        findings = [Finding(f"{one.text}; say {known[0]}") if known else one for one in findings]
    problem = _argument_problem(name, flag, value, options)
    yield from findings
    if not any(finding.refused for finding in findings):
        yield from ([Finding(problem)] if problem else _value_findings(name, _on_command_line(flag), value, newer))


def _on_command_line(flag: Flag) -> Flag:
    return flag._replace(kind="any") if flag.kind in ("str", "path") else flag


def _argument_problem(name: str, flag: Flag, value: Any, options: Mapping[str, Any]) -> str:
    text, wrong = str(value), ""
    if flag.kind == "float" and isinstance(value, bool):  # 1.0 in YAML, and no number on a command line
        wrong = "must be a number"
    elif flag.kind == "int" and not re.fullmatch(r"[+-]?[0-9]+", text):
        wrong = "must be a whole number"
    if wrong:
        return f"{name} {wrong}, and is {value!r}"
    key = NESTED.get(flag.option, flag.option)
    keys = {**options, **dict(flatten(options))}
    if key in keys and str(keys[key]) != text:
        return (
            f"{name} is {value!r} in trtllm_serve_arguments, and {key} is {keys[key]!r} in trtllm_serve_options or by "
            f"the role's default, which wins: say it as {key} there alone, with {name}: null in trtllm_serve_arguments"
        )
    return _word_problem(name, value)


def arguments_findings(
    arguments: Mapping[str, Any], options: Mapping[str, Any], era: str, newer: bool | None = None
) -> Iterator[Finding]:
    """The same for flags of ``trtllm-serve``; and for what the YAML, which wins, says differently.

    A flag that is null is left out.
    """
    newer = len(era) == len(ERAS) if newer is None else newer
    for name, value in arguments.items():
        if value is not None or name not in FLAGS:
            yield from _flag_findings(str(name), value, options, era, newer)


def check_arguments(arguments: Mapping[str, Any], options: Mapping[str, Any], era: str) -> Problems:
    """One sentence for every flag that this era of TensorRT-LLM would refuse, or that the YAML overrides."""
    return [finding.text for finding in arguments_findings(arguments, options, era) if finding.refused]


def is_autodeploy(arguments: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Whether AutoDeploy is to serve, whichever way it is said: with keys of its own, which no table has."""
    return AUTODEPLOY in (arguments.get("backend"), options.get("backend"))


def autodeploy_findings(arguments: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[Finding]:
    """What may be wrong with AutoDeploy's YAML, as far as one can tell, and how it must not be split."""
    yield Finding(
        "the backend is AutoDeploy, which has keys of its own: those of trtllm_serve_options are not checked",
        refused=False,
    )
    for name in ("tensor_parallel_size", "pipeline_parallel_size", "context_parallel_size"):
        if size(name, arguments, options) != 1:
            yield Finding(
                f"{name} is {size(name, arguments, options)}, and AutoDeploy splits by world_size alone: set "
                f"world_size in trtllm_serve_options, and leave {name} out (null in trtllm_serve_arguments)"
            )


def size(name: str, arguments: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """How many ways ``tensor_parallel_size`` or another such size splits the model, whichever way it is said."""
    said = [value for spelling, value in arguments.items() if spelling in FLAGS and FLAGS[spelling].option == name]
    return whole(next((value for value in (options.get(name), *said) if value is not None), 1))


def whole(value: Any) -> int:
    """A size as a number, 0 where it is none: what is no number is refused by name elsewhere.

    >>> whole(2), whole("2"), whole("1e3"), whole([2]), whole("0.5")
    (2, 2, 1000, 0, 0)
    """
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return 0


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
        without_value = FLAGS[name].kind == "flag" if name in FLAGS else isinstance(value, bool)
        if not without_value:
            argv += [f"--{name}", str(value)]
        elif str(value).lower() in TRUE:
            argv.append(f"--{name}")
    return argv
