# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the options of TensorRT-LLM by the JSON schema that an image itself carries, on the controller.

The engine reads the options by pydantic, which takes more than the schema's types say, such as a number in a string.
What it takes passes here too, so that nothing is refused that would have started.

This plugin util is private to the collection.
"""

from __future__ import annotations

import difflib
import math
import re
from functools import lru_cache
from typing import Any, Callable, Iterable, Iterator, Mapping

try:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import UndefinedTypeCheck, UnknownType, ValidationError
    from jsonschema.validators import extend
    from referencing import Registry
    from referencing.exceptions import Unresolvable
except ImportError:
    JSONSCHEMA_MISSING = True
else:
    JSONSCHEMA_MISSING = False

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.findings import Finding, shown
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_cli import FLAGS
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_options import (
    ANY_CASE,
    DEFAULTED,
    FALSE,
    OWNED,
    TRUE,
    placed,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import FORMS

Errors = Iterator[Any]  # of ValidationError

_DEEPEST = 20  # groups within groups, and references to references
_SENTENCE = 240  # characters of a description
_DISCRIMINATOR = "discriminator"


class SchemaError(ValueError):
    """What an image has as a schema is none that can be judged by."""


# --- what pydantic takes for each of JSON's types ---------------------------------------------------------------------


def _number(value: Any) -> float | None:
    """What a number, or a string that holds one, says; None of anything else."""
    if not isinstance(value, (bool, int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _is_whole(_checker: Any, value: Any) -> bool:
    number = _number(value)
    return number is not None and number.is_integer()


def _is_number(_checker: Any, value: Any) -> bool:
    return _number(value) is not None


def _is_boolean(_checker: Any, value: Any) -> bool:
    return isinstance(value, (bool, int, float, str)) and str(value).lower() in TRUE | FALSE


def _limit(fits: Callable[[float, float], bool]) -> Callable[..., Errors]:
    """A limit of numbers, which nan never keeps."""

    def check(_validator: Any, most: Any, instance: Any, _schema: Any) -> Errors:
        number = _number(instance)
        if number is not None and not fits(number, most):
            yield ValidationError("out of range")

    return check


def _no_matter(_validator: Any, _value: Any, _instance: Any, _schema: Any) -> Errors:
    """A set is given as a list, in which something may be twice."""
    yield from ()


# --- unions: the errors of the one alternative that was meant, and no list of all -------------------------------------


def _any_of(validator: Any, alternatives: Any, instance: Any, schema: Any) -> Errors:
    if _DISCRIMINATOR in schema and "oneOf" in schema:
        yield from _tagged(validator, instance, schema)
        return
    tried = [(one, list(validator.descend(instance, one))) for one in alternatives]
    if any(not errors for _one, errors in tried):
        return
    # An alternative of the value's own kind is meant; that the value may also be null helps nobody.
    meant = [errors for _one, errors in tried if not any(_is_of_another_kind(error) for error in errors)]
    if meant:
        yield from min(meant, key=len)
    else:
        yield ValidationError("fits no alternative", validator="anyOf")


def _is_of_another_kind(error: ValidationError) -> bool:
    return not error.relative_path and error.validator in ("type", "anyOf")


def _tagged(validator: Any, instance: Any, schema: Any) -> Errors:
    """A union that one key decides."""
    about = schema[_DISCRIMINATOR]
    tag, places = about["propertyName"], about.get("mapping") or {}
    if not isinstance(instance, Mapping):
        yield ValidationError("no mapping", validator="type", validator_value="object")
    elif tag not in instance:
        yield ValidationError("no tag", validator=_DISCRIMINATOR, validator_value=(tag, sorted(places)))
    elif not isinstance(instance[tag], str) or instance[tag] not in places:
        error = ValidationError("unknown tag", validator="enum", validator_value=sorted(places), instance=instance[tag])
        error.path.appendleft(tag)
        yield error
    else:
        yield from validator.descend(instance, {"$ref": places[instance[tag]]})


@lru_cache(maxsize=1)
def _validator_class() -> Any:
    """The library's validator, as lenient as pydantic."""
    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": _is_whole,
            "number": _is_number,
            "boolean": _is_boolean,
            "array": lambda _checker, value: isinstance(value, (list, tuple)),
            "object": lambda _checker, value: isinstance(value, Mapping),
        }
    )
    words = {
        "anyOf": _any_of,
        "oneOf": _any_of,
        "uniqueItems": _no_matter,
        "minimum": _limit(lambda number, least: number >= least),
        "maximum": _limit(lambda number, most: number <= most),
        "exclusiveMinimum": _limit(lambda number, least: number > least),
        "exclusiveMaximum": _limit(lambda number, most: number < most),
        "multipleOf": _limit(lambda number, of: math.isfinite(number) and math.isclose(number % of, 0, abs_tol=1e-9)),
    }
    return extend(Draft202012Validator, validators=words, type_checker=types)


# --- the schema -------------------------------------------------------------------------------------------------------


class Schema:
    """The schema of ``--config`` as an image has it.

    :raises SchemaError: where what the image has cannot be judged by.
    """

    def __init__(self, document: Any) -> None:
        if JSONSCHEMA_MISSING:
            raise SchemaError("the Python package jsonschema is missing on the controller: pip install jsonschema")
        if not isinstance(document, Mapping) or not isinstance(document.get("properties"), Mapping):
            raise SchemaError("it lists no keys")
        for place, problem in _malformed(document):
            raise SchemaError(f"it is no JSON schema: {problem} {place[:80]}")
        self._document = document
        # Without a registry of its own, the library would fetch what a foreign schema refers to.
        self._validator = _validator_class()(document, registry=Registry())
        self._check_references()
        self.title = str(document.get("title") or "the image's schema").partition(" trtllm-serve")[0]

    def _check_references(self) -> None:
        for reference in _references(self._document):
            if not isinstance(self._resolve({"$ref": reference}), (dict, bool)):
                raise SchemaError(f"it refers to {reference[:80]}, which it does not have")

    def _resolve(self, schema: Any) -> Any:
        """What a schema refers to; other words beside the reference, such as a description, come first."""
        for _depth in range(_DEEPEST):
            if not isinstance(schema, Mapping) or "$ref" not in schema:
                return schema
            found: Any = self._document
            path = str(schema["$ref"])
            if not path.startswith("#"):
                return None
            for part in path[1:].split("/")[1:]:
                name = part.replace("~1", "/").replace("~0", "~")
                found = found.get(name) if isinstance(found, Mapping) else None
            beside = {name: value for name, value in schema.items() if name != "$ref"}
            schema = {**found, **beside} if isinstance(found, Mapping) else found
        return None

    def takes(self, key: str) -> bool:
        """Whether there is such a key, dotted, whatever decides between alternatives.

        >>> schema = Schema({"properties": {"a": {"properties": {"b": {}}}}})
        >>> schema.takes("a"), schema.takes("a.b"), schema.takes("b")
        (True, True, False)
        """
        places: list[Any] = [self._document]
        for name in key.split("."):
            places = [
                place["properties"][name]
                for one in places
                for place in self._alternatives(one)
                if name in place.get("properties", {})
            ]
        return bool(places)

    def _alternatives(self, schema: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
        """A schema without references, and all between which it lets one choose."""
        found = self._resolve(schema)
        if not isinstance(found, Mapping) or depth > _DEEPEST:
            return
        yield found
        for word in ("anyOf", "oneOf", "allOf"):
            for one in found.get(word, ()):
                yield from self._alternatives(one, depth + 1)

    def keys(self) -> dict[str, list[Mapping[str, Any]]]:
        """All keys, dotted, with what each may be."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        self._collect(self._document, "", found, 0)
        return found

    def _collect(self, schema: Any, prefix: str, found: dict[str, list[Mapping[str, Any]]], depth: int) -> None:
        for one in self._alternatives(schema):
            for name, inner in one.get("properties", {}).items():
                found.setdefault(f"{prefix}{name}", []).append(inner)
                if depth < _DEEPEST // 4:
                    self._collect(inner, f"{prefix}{name}.", found, depth + 1)

    def without_nulls(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options without what is null and cannot be, as if nobody had said it. What is unknown stays."""
        return self._without_nulls(options, self._document, "")

    def _without_nulls(self, options: Mapping[str, Any], schema: Any, prefix: str) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, value in options.items():
            inner = self._property(schema, options, name)
            nothing = value is None and inner and (not self._is_nullable(inner) or f"{prefix}{name}" in DEFAULTED)
            if isinstance(value, Mapping) and inner:
                kept[name] = self._without_nulls(value, {"anyOf": inner}, f"{prefix}{name}.")
            elif not nothing:
                kept[name] = value
        return kept

    def _is_nullable(self, schemas: Iterable[Any]) -> bool:
        return any(self._validator.evolve(schema=one).is_valid(None) for one in schemas)

    def _property(self, schema: Any, options: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
        """What a key may be below a schema; where a key decides between alternatives, of the one that was chosen."""
        found, chosen = [], self._chosen(schema, options)
        for one in self._alternatives(chosen or schema):
            if name in one.get("properties", {}):
                found.append(one["properties"][name])
        return found

    def _chosen(self, schema: Any, options: Mapping[str, Any]) -> Any:
        for one in self._alternatives(schema):
            about = one.get(_DISCRIMINATOR)
            if isinstance(about, Mapping):
                place = (about.get("mapping") or {}).get(str(options.get(str(about.get("propertyName")))))
                if place:
                    return {"$ref": place}
        return None

    def findings(self, options: Mapping[str, Any]) -> list[Finding]:
        """What is wrong with the options, each with its dotted path, and what is of no use any more.

        :raises SchemaError: where the schema cannot be judged by after all.
        """
        plain = _as_json(options)
        try:
            errors = sorted(self._validator.iter_errors(plain), key=lambda error: _dotted(error.absolute_path))
            told = [text for error in errors if not _is_in_any_case(error) for text in self._tell(error)]
        except (*FORMS, re.error, UndefinedTypeCheck, UnknownType, Unresolvable) as error:
            raise SchemaError(f"it cannot be read ({type(error).__name__})") from error
        found = [Finding(text) for text in dict.fromkeys(told)]
        return [*found, *(Finding(text, refused=False) for text in self._old(plain, self._document, ""))]

    # --- words ---

    def _tell(self, error: ValidationError) -> Iterator[str]:
        path, word, limit = _dotted(error.absolute_path), error.validator, error.validator_value
        if word == "additionalProperties":
            known = list(error.schema.get("properties", {}))
            for name in sorted(set(error.instance) - set(known)):
                yield self._unknown(path, str(name), known, error.instance)
        elif word == "required":
            for name in sorted(set(limit) - set(error.instance)):
                yield f"{_below(path, name)} is missing"
        elif word == _DISCRIMINATOR:
            tag, choices = limit
            yield f"{_below(path, tag)} is missing, which decides what else is there: one of {', '.join(choices)}"
        else:
            value = error.instance
            close = _nearest(value, error) if word in ("enum", "const") else ""
            meant = f"; did you mean {close}?" if close else ""
            yield f"{path or 'all of it'} must be {self._must(error)}, and is {shown(path, value)}{meant}"

    def _must(self, error: ValidationError) -> str:
        word, limit = str(error.validator), error.validator_value
        if word == "anyOf":
            return self._kind(error.schema)
        if word == "type":
            return _join(_KINDS.get(one, one) for one in ([limit] if isinstance(limit, str) else limit))
        if word in ("enum", "const"):
            return _join(map(_choice, limit if word == "enum" else [limit]))
        return f"{_LIMITS[word]} {limit}" if word in _LIMITS else f"as its schema's {word} says, {str(limit)[:80]}"

    def _kind(self, schema: Any) -> str:
        """What a value may be, in words."""
        said: list[str] = []
        for one in self._alternatives(schema):
            if "const" in one or "enum" in one:
                said += map(_choice, one.get("enum", [one.get("const")]))
            elif "type" in one:
                kinds = [one["type"]] if isinstance(one["type"], str) else one["type"]
                said += [_KINDS.get(kind, kind) for kind in kinds if kind != "null"]
        return _join(dict.fromkeys(said))

    def _unknown(self, path: str, name: str, known: list[str], beside: Mapping[str, Any]) -> str:
        """An unknown key, with the right one: misspelt, in another group, a flag, or another alternative's."""
        key = _below(path, name)
        text = f"{key} is no key of {self.title}"
        for tag in (one for one in ("decoding_type", "algorithm") if one in beside and one in known):
            text += f" with {_below(path, tag)} {beside[tag]}"
        if "." in name:
            return f"{text}: it is one name with dots in it, say {placed(key)}"
        close = difflib.get_close_matches(name, known, n=1)
        if close:
            return f"{text}; did you mean {placed(_below(path, close[0]))}?"
        if self.takes(key):  # of another alternative
            return text
        elsewhere = sorted(one for one in self.keys() if one.rpartition(".")[2] == name)
        if elsewhere:
            return f"{text}; did you mean {placed(elsewhere[0])}?"
        flag = FLAGS.get(name)
        if flag and flag.option not in OWNED:
            return f"{text}: it is a flag of trtllm-serve, say it in trtllm_serve_arguments"
        close = difflib.get_close_matches(key, self.keys(), n=1, cutoff=0.75)
        return f"{text}; did you mean {placed(close[0])}?" if close else text

    def _old(self, options: Mapping[str, Any], schema: Any, prefix: str) -> Iterator[str]:
        """Keys that the image only takes so that old files go on being read."""
        for name, value in options.items():
            for inner in self._property(schema, options, name)[:1]:
                about = self._resolve(inner)
                if isinstance(about, Mapping) and (
                    about.get("status") == "deprecated" or about.get("deprecated") is True
                ):
                    why = _first_sentence(str(about.get("description") or ""))
                    yield f"{prefix}{name} is deprecated in {self.title}{': ' + why if why else ''}. Leave it out"
                if isinstance(value, Mapping):
                    yield from self._old(value, inner, f"{prefix}{name}.")


_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a string",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_LIMITS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
    "multipleOf": "a multiple of",
    "minLength": "a string whose length is at least",
    "maxLength": "a string whose length is at most",
    "minItems": "a list whose length is at least",
    "maxItems": "a list whose length is at most",
    "minProperties": "a mapping whose number of keys is at least",
    "maxProperties": "a mapping whose number of keys is at most",
}


def _is_in_any_case(error: ValidationError) -> bool:
    """Whether it is a word that validators of the engine's own take in any case."""
    choices = error.validator_value if error.validator == "enum" else []
    return _dotted(error.absolute_path) in ANY_CASE and str(error.instance).lower() in [
        str(one).lower() for one in choices
    ]


def _choice(value: Any) -> str:
    return value if isinstance(value, str) else "null" if value is None else str(value)


def _join(words: Iterable[str]) -> str:
    """Words as a sentence lists them.

    >>> _join(["a"]), _join(["a", "b", "c"]), _join([])
    ('a', 'a, b or c', 'something else')
    """
    *most, last = list(words) or ["something else"]
    return f"{', '.join(most)} or {last}" if most else last


def _nearest(value: Any, error: ValidationError) -> str:
    choices = error.validator_value if error.validator == "enum" else [error.validator_value]
    by_case = {str(one).lower(): str(one) for one in choices}
    close = difflib.get_close_matches(str(value).lower(), by_case, n=1)
    return by_case[close[0]] if close and isinstance(value, str) else ""


def _first_sentence(text: str) -> str:
    """The beginning of a description, without the mark by which TensorRT-LLM begins those of old keys.

    >>> _first_sentence("DEPRECATED: no-op kept for old files. Will be removed.")
    'no-op kept for old files'
    """
    words = " ".join(text.split())
    sentence = words[len("DEPRECATED:") :].strip() if words.upper().startswith("DEPRECATED:") else words
    return sentence.partition(". ")[0].rstrip(".")[:_SENTENCE]


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _dotted(path: Iterable[str | int]) -> str:
    """A path as people write it.

    >>> _dotted(["cuda_graph_config", "batch_sizes", 2])
    'cuda_graph_config.batch_sizes[2]'
    """
    text = ""
    for part in path:
        text = f"{text}[{part}]" if isinstance(part, int) else _below(text, part)
    return text


def _as_json(value: Any) -> Any:
    """The same with every key a string, as the engine reads a mapping of numbers, too."""
    if isinstance(value, Mapping):
        return {str(name): _as_json(inner) for name, inner in value.items()}
    return [_as_json(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _malformed(schema: Any) -> Iterator[tuple[str, str]]:
    """Where a schema has another form than JSON schemas have, as far as it is read here, and what is wrong there.

    The library would validate it by the schema of all schemas, which takes it a second for TensorRT-LLM's.
    """
    waiting: list[tuple[str, Any]] = [("at its root", schema)]
    while waiting:
        place, one = waiting.pop()
        if isinstance(one, bool):
            continue
        if not isinstance(one, Mapping):
            yield place, "something is no schema"
            continue
        kinds = one.get("type", [])
        if not set([kinds] if isinstance(kinds, str) else kinds) <= set(_KINDS):
            yield place, "there is a type of no kind"
        misformed = list(_misformed(one))
        if misformed:
            yield place, f"{misformed[0]} is of another form"
            continue
        for word in ("properties", "patternProperties", "$defs"):
            waiting += [(f"in {word} {name}", inner) for name, inner in one.get(word, {}).items()]
        for word in ("anyOf", "oneOf", "allOf"):
            waiting += [(f"{place}, {word}", inner) for inner in one.get(word, [])]
        waiting += [(f"{place}, {word}", one[word]) for word in ("items", "additionalProperties") if word in one]


_MAPPINGS = ("properties", "patternProperties", "$defs", _DISCRIMINATOR)
_LISTS = ("anyOf", "oneOf", "allOf", "enum", "required")
_TEXTS = ("$ref", "pattern")


def _misformed(schema: Mapping[str, Any]) -> Iterator[str]:
    """The words of a schema that are of another form than they have to be."""
    yield from (word for word in _MAPPINGS if not isinstance(schema.get(word, {}), dict))
    yield from (word for word in _LISTS if not isinstance(schema.get(word, []), list))
    yield from (word for word in _TEXTS if not isinstance(schema.get(word, ""), str))


def _references(schema: Any) -> Iterator[str]:
    """All references of a schema, also those of what decides between alternatives."""
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            if isinstance(one.get("$ref"), str):
                yield one["$ref"]
            about = one.get(_DISCRIMINATOR)
            if isinstance(about, Mapping) and isinstance(about.get("mapping"), Mapping):
                yield from (str(place) for place in about["mapping"].values())
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
