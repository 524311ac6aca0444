# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the settings of TensorRT-LLM before anything is started with them. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import difflib
import math
import re
from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.findings import Finding, shown
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_cli import (
    BY_RC20,
    DEAD,
    ERAS,
    FLAGS,
    INFINITY,
    KEYS,
    NULLABLE,
    OPEN,
    RANGES,
    Flag,
    Key,
)

#: what the role itself says to trtllm-serve, and what to set instead
OWNED = {
    "host": "engine_serve_api_host",
    "port": "engine_serve_api_port",
    "extra_llm_api_options": "trtllm_serve_options",
    "set": "trtllm_serve_options",
}
#: which key of the YAML says the same as a flag, where they do not go by one name
NESTED = {
    "free_gpu_memory_fraction": "kv_cache_config.free_gpu_memory_fraction",
    "kv_cache_dtype": "kv_cache_config.dtype",
}
#: what else is written as true and as false in a YAML file that pydantic reads
TRUE, FALSE = {"true", "1", "yes", "on", "t", "y"}, {"false", "0", "no", "off", "f", "n"}
#: whose value is taken in any case
ANY_CASE = {"load_format", "cp_config.cp_type"}
#: what may be null to the engine, and means a default of the role's that must not be lost
DEFAULTED = {"kv_cache_config.free_gpu_memory_fraction"}
_ONE_OF = "must be one of"
_FLAG = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)

#: the backend with keys and sizes of its own, which no table has
AUTODEPLOY = "_autodeploy"
#: the version of era A of which the table is; the later ones may have what the next table has
TRANSCRIBED = (1, 2, 0, 1)
#: the version up to which the newest table goes; what the later ones have besides, nothing here tells
NEWEST = (1, 3, 0, 25)
#: the candidate that has much of what the next table has
_RC20 = (1, 3, 0, 20)
_TYPO = 0.85  # likeness of two names from which on one is taken for the other, misspelt

# 1.2.0rc6.post3, 1.3.0rc26.dev202609010000, v1.2.1, 1.3.0rc13-arm64; two numbers alone, as YAML makes of 1.3
_VERSION = re.compile(
    r"v?(?P<number>\d+\.\d+(?:\.\d+)?)(?:[-_.]?rc(?P<rc>\d+))?(?P<post>[-_.]?post\d+)?(?P<dev>[-_.]?dev\d+)?"
    r"(?P<suffix>[-+_][\w.+-]*)?",
    re.ASCII | re.IGNORECASE,
)
_CALENDAR = 20  # a first number from here on is a year, as in the tags of NVIDIA's other images

# what TensorRT-LLM's own images are called, by NVIDIA, in a mirror and by its Makefile; NVIDIA has others beside them,
# with versions of their own
_REPOSITORY = re.compile(
    r"(?:.*/)?tensorrt[-_]llm/(?:release|devel)|(?:nvcr\.io|[\w.-]+\.nvidia\.com)/(?:.*/)?tensorrt[-_]llm",
    re.ASCII | re.IGNORECASE,
)
# a tag that says whose version it has; "release" alone says so only before a candidate as TensorRT-LLM names them
_TELLING = re.compile(
    r"(?:trt-?llm|tensorrt[-_]?llm)[-_]?(?P<named>v?\d.*)|(?:release|devel)[-_](?P<candidate>v?\d+\.\d+\.\d+rc\d.*)",
    re.ASCII | re.IGNORECASE,
)


class Version(NamedTuple):
    """A version of TensorRT-LLM. ``candidate``: of a release candidate, and -1 of what comes before them."""

    major: int
    minor: int
    patch: int
    candidate: float


class Image(NamedTuple):
    """What is known of an image.

    ``eras``: those from which it may have flags and keys, all of them where nothing is known. ``newer``: whether it may
    have what no table has. ``version``: for sentences, empty where it is not known.
    """

    eras: str
    newer: bool
    version: str = ""

    def __str__(self) -> str:
        return self.version or _eras(self.eras)


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
    ['A', 'B', 'C', 'D', 'ABCD']
    """
    number = parse_version(version)
    if number is None:
        return "".join(ERAS)
    if number[:2] < (1, 3):
        return "A"
    if number[:2] > (1, 3):
        return "D"
    return "B" if number[:3] == (1, 3, 0) and number.candidate != float("inf") else "C"


def eras_of(version: str) -> str:
    """The eras from which a version may have its flags and keys.

    A table is that of one commit: what the next one has came in the release candidates between, one cannot tell which.

    >>> [eras_of(version) for version in ("1.1.0", "1.2.0rc6.post3", "1.2.1", "1.3.0rc5", "1.3.0rc26", "1.3.0", "any")]
    ['A', 'AB', 'AB', 'BC', 'BCD', 'CD', 'ABCD']
    """
    number, era = parse_version(version), era_of(version)
    if era == "B":
        return "BCD" if is_newer(version) else "BC"
    if era == "C":
        return "CD"
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
    """The version that the tag of an image tells; empty where it has none, or is somebody else's version.

    >>> version_of("nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5"), version_of("localhost:5000/release@sha256:12")
    ('1.3.0rc5', '')
    >>> version_of("ghcr.io/me/spark-trtllm:1.0.0"), version_of("ghcr.io/me/spark:trtllm-1.2.0")
    ('', '1.2.0')
    """
    where, slash, name = image.split("@")[0].rpartition("/")
    name, _colon, tag = name.partition(":")
    telling = _TELLING.fullmatch(tag)
    if telling:
        return telling["named"] or telling["candidate"]
    return tag if _REPOSITORY.fullmatch(f"{where}{slash}{name}") else ""


def image_of(version: str) -> Image:
    """What is known of an image with this version of TensorRT-LLM.

    >>> image_of("1.2.0rc6.post3")
    Image(eras='AB', newer=False, version='1.2.0rc6.post3')
    >>> image_of("any")
    Image(eras='ABCD', newer=True, version='')
    """
    return Image(eras_of(version), is_newer(version), version.strip() if parse_version(version) else "")


def _eras(letters: str) -> str:
    return " and ".join(ERAS[letter] for letter in letters if letter != "D" or "C" not in letters)


def _lasting(eras: str) -> str:
    """What came with 1.3 is in 1.4 too."""
    return f"{eras}D" if "C" in eras and "D" not in eras else eras


def _has_early(name: str, eras: str, image: Image) -> bool:
    """Whether an image is a candidate that is known to have something that came with the candidates."""
    number = parse_version(image.version) if "C" in eras and "C" in image.eras else None
    return number is not None and number >= _RC20 and name.partition(".")[0] in BY_RC20


def placed(key: str) -> str:
    """A dotted key in words, as YAML has it.

    >>> placed("kv_cache_config.free_gpu_memory_fraction"), placed("print_iter_log")
    ('free_gpu_memory_fraction below kv_cache_config', 'print_iter_log')
    """
    return " below ".join(part for part in reversed(key.split(".")) if part)


_TRY = "take it out if the engine refuses it when it starts"
_ANYWAY = "(if the image takes it all the same, set trtllm_serve_version: any)"


def _era_findings(kind: str, name: str, eras: str, image: Image) -> Iterator[Finding]:
    eras = _lasting(eras)
    shared = set(eras) & set(image.eras)
    if _has_early(name, eras, image):
        return
    if not shared:
        yield Finding(f"{name} is a {kind} of TensorRT-LLM {_eras(eras)}, and the image is {image} {_ANYWAY}")
    elif shared != set(image.eras) and len(image.eras) < len(ERAS):
        where = _eras("".join(sorted(shared)))
        yield Finding(
            f"{name} is a {kind} of TensorRT-LLM {where}, and no table tells whether the image's version has it: "
            f"{_TRY}",
            refused=False,
        )


def _is_misspelt(name: str, known: Iterable[str]) -> bool:
    group, _dot, leaf = name.rpartition(".")
    beside = [one.rpartition(".")[2] for one in known if one.rpartition(".")[0] == group]
    return bool(difflib.get_close_matches(leaf, beside, n=1, cutoff=_TYPO))


def _unknown(word: str, name: str, known: Iterable[str], image: Image) -> Finding:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {placed(close[0])}?" if close else ""
    if len(image.eras) == len(ERAS) or (image.newer and not _is_misspelt(name, known)):
        meant = f" ({meant})" if meant else ""
        return Finding(f"{name} is no {word} that is known of any TensorRT-LLM{meant}: {_TRY}", refused=False)
    return Finding(f"{name} is no {word} of TensorRT-LLM's{f'; {meant}' if meant else ''} {_ANYWAY}")


def _flag_as_key(name: str, image: Image) -> Finding:
    text = (
        f"{name} is a flag of trtllm-serve, and no key that is known of TensorRT-LLM: say it in trtllm_serve_arguments"
    )
    if image.newer:
        return Finding(f"{text} if the engine refuses it when it starts", refused=False)
    return Finding(f"{text} {_ANYWAY}")


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


def without_nulls(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The options without what is null and cannot be, as if nobody had said it.

    What no table has is left as it is.

    >>> without_nulls({"kv_cache_config": None, "cuda_graph_config": None, "print_iter_log": None, "new": None})
    {'cuda_graph_config': None, 'new': None}
    """
    kept: dict[str, Any] = {}
    for name, value in options.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key not in KEYS:
            kept[name] = without_nulls(value, f"{key}.")
        elif value is not None or not _stands_for_nothing(key):
            kept[name] = value
    return kept


def _stands_for_nothing(key: str) -> bool:
    known = key in KEYS or any(one.startswith(f"{key}.") for one in KEYS)
    return known and (key not in NULLABLE or key in DEFAULTED)


def _dotted(options: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The keys of which a name has dots in it, where none of the engine's has."""
    for name, value in options.items():
        key = f"{prefix}{name}"
        if "." in str(name) and not prefix.startswith(tuple(OPEN)):
            yield key
        elif isinstance(value, dict) and key not in KEYS:
            yield from _dotted(value, f"{key}.")


def _range_problem(key: str, value: Any) -> str:
    """Why a number is too small or too large; nan is both."""
    least, most = RANGES.get(key, (-INFINITY, INFINITY))
    if key not in RANGES or least <= float(value) <= most:
        return ""
    return f"must be at least {least}" if most == INFINITY else f"must be from {least} to {most}"


def _value_problem(name: str, kind: str, choices: Sequence[str], value: Any) -> str:
    """What a value must be and is not; empty where it will do. Goes by what pydantic and Click take."""
    if kind.endswith(" or str") and isinstance(value, str):
        return ""
    container, _bracket, inner = kind.replace(" or str", "").partition("[")
    if container in ("list", "set"):
        if not isinstance(value, (list, tuple)):
            return "must be a list"
        wrong = (_value_problem(name, inner.rstrip("]"), choices, one) for one in value if inner)
        return next((f"has an element that {problem}" for problem in wrong if problem), "")
    if container == "dict":
        return "" if isinstance(value, dict) else "must be a mapping"
    if choices:
        fits = value in choices
        if name in ANY_CASE:
            fits = str(value).lower() in [one.lower() for one in choices]
        return "" if fits else f"{_ONE_OF} {', '.join(choices)}"
    if kind in ("bool", "flag", "bool or 'auto'"):
        fits = str(value).lower() in TRUE | FALSE or (kind.endswith("'auto'") and value == "auto")
        return "" if fits else "must be true or false"
    if kind in ("int", "float"):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return "must be a number"
        return "must be a whole number" if kind == "int" and not number.is_integer() else ""
    return "must be a string" if kind == "str" and not isinstance(value, str) else ""


def _value_findings(name: str, known: Flag | Key, key: str, value: Any, image: Image) -> Iterator[Finding]:
    old = known.old if isinstance(known, Key) and "A" in image.eras else ()
    new = known.new if "D" in image.eras else ()
    wrong = _value_problem(name, known.kind, known.choices + old + new, value) or _range_problem(key, value)
    if wrong and _ONE_OF in wrong:  # a later version may have one more
        words = all(isinstance(one, str) for one in (value if isinstance(value, list) else [value]))
        if words and image.newer:
            doubt = f"no table tells whether the image's version has that one too, {_TRY}"
            yield Finding(f"{name} {wrong}, as far as is known, and is {shown(name, value)}: {doubt}", refused=False)
        else:
            yield Finding(f"{name} {wrong}, and is {shown(name, value)} {_ANYWAY}")
    elif wrong:
        yield Finding(f"{name} {wrong}, and is {shown(name, value)}")


def options_findings(options: Mapping[str, Any], image: Image) -> Iterator[Finding]:
    """What is wrong with the YAML, or may be, for an image.

    With several eras, what any of them takes will do, and with all of them what no table has is not refused; nor is it
    where the image is newer, unless it looks misspelt.
    """
    groups = {".".join(key.split(".")[:depth]) for key in KEYS for depth in range(1, key.count(".") + 1)}
    dotted = list(_dotted(options))
    for name in dotted:
        yield Finding(
            f"{name} is one name with dots in it, and no key of the engine's has any: say {placed(name) or 'a name'}"
        )
    for name, value in flatten(options):
        key = KEYS.get(name)
        if any(name == one or name.startswith(f"{one}.") for one in dotted):
            continue
        if key is not None:
            findings = list(_era_findings("key", name, key.eras, image))
            yield from findings
            if value is not None and not any(finding.refused for finding in findings):
                yield from _value_findings(name, key, name, value, image)
        elif name in groups:
            if value not in (None, {}):
                yield Finding(f"{name} must be a mapping, and is {shown(name, value)}")
            else:  # an empty one is a key, too, which an image may not have
                eras = {era for one, known in KEYS.items() if one.startswith(f"{name}.") for era in known.eras}
                yield from _era_findings("key", name, "".join(sorted(eras)), image)
        elif name in FLAGS and _key_of(FLAGS[name]) not in KEYS:
            yield _flag_as_key(name, image)
        elif not f"{name}.".startswith(tuple(OPEN)):
            yield _unknown("key", name, sorted({*KEYS, *groups}), image)


def dead_findings(options: Mapping[str, Any], image: Image) -> Iterator[Finding]:
    """What an image takes, and does not heed any more."""
    number = parse_version(image.version)
    for name, _value in flatten(options):
        since, instead = DEAD.get(name, ((math.inf, 0, 0, 0), ""))
        if number is not None and number >= since:
            yield Finding(f"{name} is of no use with TensorRT-LLM {image}: {instead}", refused=False)


def role_findings(options: Mapping[str, Any]) -> Iterator[Finding]:
    """What the YAML would change that the role has settled."""
    if options.get("model") is not None:
        yield Finding("model is set by the role: set spark_model instead, and leave it out of trtllm_serve_options")
    if options.get("orchestrator_type") == "ray":
        yield Finding(
            "orchestrator_type is 'ray', and the role starts the ranks by MPI: leave it out of trtllm_serve_options"
        )


def _word_problem(name: str, value: Any) -> str:
    if re.fullmatch(r"[A-Za-z0-9_.,:/@%+=-]+", str(value)):
        return ""
    key = _key_of(FLAGS[name]) if name in FLAGS else ""
    mend = f"say it as {placed(key)} in trtllm_serve_options, with {name}: null here"
    if key not in KEYS:
        mend = "give letters, digits and _.,:/@%+=- alone, since no key of trtllm_serve_options says the same"
    return (
        f"{name} is {value!r}: trtllm-llmapi-launch splits what it starts at blanks and expands what a shell would; "
        f"{mend}"
    )


def _key_of(flag: Flag) -> str:
    """The key that says the same as a flag, if there is one."""
    return NESTED.get(flag.option, flag.option)


def told_flags(said: Mapping[str, Mapping[str, Any]]) -> dict[str, Flag]:
    """The flags of an image as its own ``trtllm-serve serve --help`` tells them.

    :param said: by name ``kind`` and ``choices``, as :func:`trtllm_image.parse_help` returns them.

    >>> told_flags({"tp_size": {"kind": "int", "choices": []}})["tp_size"].option
    'tensor_parallel_size'
    """
    every = "".join(ERAS)
    return {
        name: Flag(FLAGS[name].option if name in FLAGS else name, about["kind"], every, tuple(about["choices"]))
        for name, about in said.items()
    }


def _untold(name: str, told: Mapping[str, Flag]) -> Finding:
    """A flag that the image's own help does not have, with the right one."""
    known = FLAGS.get(name)
    beside = [other for other, its in told.items() if known and its.option == known.option]
    close = beside or difflib.get_close_matches(name, told, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return Finding(f"{name} is no flag of the image's trtllm-serve, as its --help says{meant}")


def _told_findings(name: str, value: Any, options: Mapping[str, Any], told: Mapping[str, Flag]) -> Iterator[Finding]:
    """What is wrong with a flag, by the image's own help."""
    if name not in told:
        yield _untold(name, told)
        return
    flag = told[name]
    problem = _argument_problem(name, flag, value, options)
    if problem:
        yield Finding(problem)
        return
    kind = _on_command_line(flag).kind
    wrong = _value_problem(name, kind, flag.choices, value) or _range_problem(_key_of(flag), value)
    if wrong:
        yield Finding(f"{name} {wrong}, and is {shown(name, value)}")


def _flag_findings(name: str, value: Any, options: Mapping[str, Any], image: Image) -> Iterator[Finding]:
    flag = FLAGS.get(name)
    if flag is None:
        yield _unknown("flag", name, FLAGS, image)
        problem = _word_problem(name, value) or ("" if _FLAG.fullmatch(name) else f"{name!r} is no name of a flag")
        if problem:
            yield Finding(problem)
        return
    if flag.option in OWNED:
        yield Finding(f"{name} is set by the role: set {OWNED[flag.option]} instead")
        return
    findings = list(_era_findings("flag", name, flag.eras, image))
    same = {other: _lasting(its.eras) for other, its in FLAGS.items() if its.option == flag.option}
    beside = [other for other, eras in same.items() if set(image.eras) <= set(eras)]
    if beside:
        findings = [
            one._replace(text=f"{one.text}{'; ' if one.refused else ', and '}say {beside[0]}") for one in findings
        ]
    problem = _argument_problem(name, flag, value, options)
    yield from findings
    if not any(finding.refused for finding in findings):
        typed = _on_command_line(flag)
        yield from [Finding(problem)] if problem else _value_findings(name, typed, _key_of(flag), value, image)


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
    key = _key_of(flag)
    keys = {**options, **dict(flatten(options))}
    if key in keys and _meant(name, keys[key], flag.kind) != _meant(name, value, flag.kind):
        return (
            f"{name} is {value!r} in trtllm_serve_arguments, and {key} is {keys[key]!r} in trtllm_serve_options or by "
            f"the role's default, which wins: say it as {placed(key)} there alone, with {name}: null in "
            "trtllm_serve_arguments"
        )
    return _word_problem(name, value)


def _meant(name: str, value: Any, kind: str) -> Any:
    """What a flag says, whichever way it is written: true, "yes" and 1, or 0.8 and "0.80"."""
    if kind == "flag":
        return (str(value).lower() in TRUE) != name.startswith("no-")
    try:
        number = float(value) if kind in ("int", "float") else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    return str(value) if math.isnan(number) else number


def _disagreements(arguments: Mapping[str, Any]) -> Iterator[Finding]:
    said: dict[str, tuple[str, Any]] = {}
    for name, value in arguments.items():
        if name in FLAGS and value is not None:
            other, its = said.setdefault(FLAGS[name].option, (name, value))
            if _meant(other, its, FLAGS[other].kind) != _meant(name, value, FLAGS[name].kind):
                yield Finding(
                    f"{other}, which is {its!r}, and {name}, which is {value!r}, are two spellings of one flag: keep "
                    "one of them in trtllm_serve_arguments, and leave the other out (null)"
                )


def arguments_findings(
    arguments: Mapping[str, Any],
    options: Mapping[str, Any],
    image: Image,
    told: Mapping[str, Flag] | None = None,
) -> Iterator[Finding]:
    """The same for flags of ``trtllm-serve``; and for what the YAML, which wins, says differently.

    A flag that is null is left out. :param told: those that the image has, as :func:`told_flags` returns them.
    """
    yield from _disagreements(arguments)
    for name, value in arguments.items():
        if value is not None or name not in FLAGS:
            owned = name in FLAGS and FLAGS[name].option in OWNED
            yield from (
                _told_findings(str(name), value, options, told)
                if told and not owned
                else _flag_findings(str(name), value, options, image)
            )


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
    >>> render({"telemetry": False})  # which is on unless somebody says so
    ['--no-telemetry']
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
        elif f"no-{name}" in FLAGS:
            argv.append(f"--no-{name}")
    return argv
