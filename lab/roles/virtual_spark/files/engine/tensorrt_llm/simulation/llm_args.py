# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The YAML of --extra_llm_api_options: exactly one era's keys, their types, and pydantic's words for any other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tensorrt_llm.simulation import era as eras

_PYDANTIC = "2.12"
_TRUE, _FALSE = {"1", "true", "t", "yes", "y", "on"}, {"0", "false", "f", "no", "n", "off"}
_ANY_CASE = {"load_format", "cp_type"}  # those that validators of their own convert


@dataclass(frozen=True)
class Problem:
    """One line of a ValidationError."""

    where: tuple[str | int, ...]
    message: str
    kind: str
    value: Any

    def __str__(self) -> str:
        about = f"[type={self.kind}, input_value={self.value!r}, input_type={type(self.value).__name__}]"
        more = f"    For further information visit https://errors.pydantic.dev/{_PYDANTIC}/v/{self.kind}"
        return f"{'.'.join(map(str, self.where))}\n  {self.message} {about}\n{more}"


class ValidationError(ValueError):
    """Raised as pydantic raises it."""

    __module__ = "pydantic_core._pydantic_core"

    def __init__(self, problems: list[Problem]) -> None:
        errors = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} for TorchLlmArgs"
        super().__init__("\n".join([errors, *map(str, problems)]))
        self.problems = problems


class Schema:
    """The keys of one era."""

    def __init__(self, era: str) -> None:
        facts = eras.facts("llm_args")
        self.leaves = {row["key"]: row for row in facts["keys"] if eras.has(row["eras"], era)}
        self.more = "allowed_from_1.4" if era == eras.ERAS[3] else "allowed_before_1.3" if era == eras.ERAS[0] else ""
        self.groups = {key.rpartition(".")[0] for key in self.leaves if "." in key}
        self.groups |= {group.rpartition(".")[0] for group in self.groups if "." in group}
        #: what is known of another era is no unknown key of this one
        self.foreign = {row["key"] for row in facts["keys"]} - set(self.leaves)
        #: what may be null; of the groups, most are made by unpacking what is given
        self.nullable = set(facts["nullable"])
        self.ranges = facts["ranges"]
        self.open = tuple(one for one in facts["open_prefixes"] if one.partition(".")[0] in self.groups)

    def check(self, tree: Any) -> list[Problem]:
        """Everything that is wrong with what a YAML file holds."""
        if not isinstance(tree, dict):
            raise TypeError(f"the options must be a mapping, not {type(tree).__name__}")
        return self._group((), tree)

    def _group(self, where: tuple[str | int, ...], tree: dict[Any, Any]) -> list[Problem]:
        problems = []
        for name, value in tree.items():
            here = (*where, name)
            path = ".".join(map(str, here))
            if "." in str(name) and not path.rpartition(str(name))[0].startswith(self.open):
                problems.append(Problem(here, "Extra inputs are not permitted", "extra_forbidden", value))
            elif path in self.groups:
                if isinstance(value, dict):
                    problems += self._group(here, value)
                elif value is not None or path not in self.nullable:
                    title = "".join(part.capitalize() for part in str(name).split("_"))
                    message = f"Input should be a valid dictionary or instance of {title}"
                    problems.append(Problem(here, message, "model_type", value))
            elif path in self.leaves:
                row = self.leaves[path]
                if value is not None or path not in self.nullable:
                    allowed = [*(row["allowed"] or []), *row.get(self.more, [])]
                    wrong = _value(here, row["type"], allowed, value)
                    problems += wrong or _limits(here, *self.ranges.get(path, (None, None)), value)
            elif path in self.foreign or not f"{path}.".startswith(self.open):
                problems.append(Problem(here, "Extra inputs are not permitted", "extra_forbidden", value))
        return problems


def _value(where: tuple[str | int, ...], kind: str, allowed: list[str], value: Any) -> list[Problem]:
    if kind == 'bool or "auto"':
        if value == "auto":
            return []
        kind = "bool"
    if kind.endswith(" or str"):
        if isinstance(value, str):
            return []
        kind = kind[: -len(" or str")]
    container, _of, element = kind.partition("[")
    if container in ("list", "set"):
        if not isinstance(value, (list, set)):
            return [Problem(where, f"Input should be a valid {container}", f"{container}_type", value)]
        inner = element.rstrip("]")
        return [
            problem
            for index, one in enumerate(value)
            for problem in (_value((*where, index), inner, allowed, one) if inner else [])
        ]
    if container == "dict":
        wrong = not isinstance(value, dict)
        return [Problem(where, "Input should be a valid dictionary", "dict_type", value)] if wrong else []
    if allowed:
        if value in allowed or (where[-1] in _ANY_CASE and str(value).lower() in {one.lower() for one in allowed}):
            return []
        words = [repr(one) for one in allowed]
        text = f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
        return [Problem(where, f"Input should be {text}", "literal_error", value)]
    return _scalar(where, kind, value)


def _limits(where: tuple[str | int, ...], least: float | None, most: float | None, value: Any) -> list[Problem]:
    """What is out of a field's ge and le; nan is out of any."""
    if value is None:
        return []
    if least is not None and not float(value) >= least:
        message = f"Input should be greater than or equal to {least}"
        return [Problem(where, message, "greater_than_equal", value)]
    if most is not None and not float(value) <= most:
        return [Problem(where, f"Input should be less than or equal to {most}", "less_than_equal", value)]
    return []


def _scalar(where: tuple[str | int, ...], kind: str, value: Any) -> list[Problem]:
    """pydantic's lax mode: a number in a string will do, and so will a whole float for an integer."""
    if kind == "str" and not isinstance(value, str):
        return [Problem(where, "Input should be a valid string", "string_type", value)]
    if kind == "bool":
        if isinstance(value, (bool, int, float, str)) and str(value).lower() in _TRUE | _FALSE:
            return []
        message, about = "Input should be a valid boolean", "bool_type"
        if isinstance(value, (int, float, str)):
            message, about = f"{message}, unable to interpret input", "bool_parsing"
        return [Problem(where, message, about, value)]
    if kind in ("int", "float"):
        word = {"int": "integer", "float": "number"}[kind]
        if not isinstance(value, (bool, int, float, str)):
            return [Problem(where, f"Input should be a valid {word}", f"{kind}_type", value)]
        try:
            number = float(value)
        except ValueError:
            message = f"Input should be a valid {word}, unable to parse string as a {word}"
            return [Problem(where, message.replace("a integer", "an integer"), f"{kind}_parsing", value)]
        if kind == "int" and not number.is_integer():
            message = "Input should be a valid integer, got a number with a fractional part"
            return [Problem(where, message, "int_from_float", value)]
    return []


def check(tree: Any, era: str) -> None:
    """Die as pydantic would, or not at all."""
    problems = Schema(era).check(tree)
    if problems:
        raise ValidationError(problems)
