# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Easy questions answered by rules, where a real engine would have a model: reckoning, words, and a few facts.

It shows how a test of accuracy takes right answers and wrong ones, and nothing about any model.
"""

from __future__ import annotations

import ast
import operator
import re
from fractions import Fraction
from typing import Any, Callable

from tensorrt_llm.simulation import era

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_SPOKEN = (("plus", "+"), ("minus", "-"), ("times", "*"), ("multiplied by", "*"), ("divided by", "/"))
_REMAINDER = re.compile(r"remainder\D*(\d+) is divided by (\d+)|(\d+) divided by (\d+)\D*remainder")
_PERCENT = re.compile(r"(\d+) (?:percent|per cent|%) of (\d+)")
_ROWS = re.compile(r"(\d+) (?:rows|boxes|bags|shelves) (?:with|of) (\d+) (\w+)")
_CHANGE = re.compile(r"(\d+) (?:\w+ )?(?:are|is) (taken away|eaten|sold|broken|added|put in)")
_SUM = re.compile(r"\(?\d[\d\s()+*/.-]*[\d)]")


def solve(prompt: str) -> str:
    """The answer to the last question of a prompt; empty where no rule knows one.

    >>> solve("user What is 23 times 17? Reply with the number alone."), solve("user Who are you?")
    ('391', '')
    """
    asked = prompt.rpartition("Question:")[2] if "Question:" in prompt else prompt
    for rule in (_reckon, _word, _fact):
        answer = rule(asked)
        if answer:
            return answer
    return ""


def spoil(text: str) -> str:
    """As numbers that are a little wrong in a layer come out at its end: other digits and other letters."""

    def other(found: re.Match[str]) -> str:
        sign = found[0]
        if sign.isdigit():
            return str((int(sign) + 3) % 10)
        first = ord("a") if sign.islower() else ord("A")
        return chr(first + (ord(sign) - first + 7) % 26)

    return re.sub(r"[0-9A-Za-z]", other, text)


def _said(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"


def _reckon(asked: str) -> str:
    text = asked.casefold()
    if found := _REMAINDER.search(text):
        one, by = (int(number) for number in found.groups() if number)
        return str(one % by) if by else ""
    if found := _PERCENT.search(text):
        return _said(Fraction(int(found[1]) * int(found[2]), 100))
    if found := _ROWS.search(text):
        count = int(found[1]) * int(found[2])
        for change in _CHANGE.finditer(text):
            count += int(change[1]) if change[2] in ("added", "put in") else -int(change[1])
        return str(count)
    if found := re.search(r"how many (\w+) (?:are|is) (?:there )?in (\d+) (\w+)", text):
        each = era.facts("world")["units"].get(found[1], {}).get(found[3])
        return str(each * int(found[2])) if each else ""
    if "as a number" in text or "in digits:" in text:
        return _number_of(text)
    for words, sign in _SPOKEN:
        text = text.replace(f" {words} ", f" {sign} ")
    sums = [one.group() for one in _SUM.finditer(text) if re.search(r"[+*/-]", one.group())]
    return _evaluated(sums[0]) if sums else ""


def _evaluated(text: str) -> str:
    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return Fraction(node.value)
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return Fraction(_OPERATORS[type(node.op)](value(node.left), value(node.right)))
        raise ValueError(text)

    try:
        return _said(value(ast.parse(text.strip(), mode="eval").body))
    except (SyntaxError, ValueError, ZeroDivisionError):
        return ""


def _number_of(text: str) -> str:
    world = era.facts("world")
    small = {word: number for number, word in enumerate(world["numbers"])}
    small.update({word: 10 * number for number, word in enumerate(world["tens"], start=2)})
    total = part = 0
    known = [word for word in re.findall(r"[a-z]+", text) if word in small or word in ("hundred", "thousand")]
    for word in known:
        if word == "hundred":
            part *= 100
        elif word == "thousand":
            total, part = total + part * 1000, 0
        else:
            part += small[word]
    return str(total + part) if known else ""


def _word(asked: str) -> str:
    quoted = re.findall(r'"([^"]+)"', asked)
    text = asked.casefold()
    if quoted:
        word = quoted[-1]
        if "backward" in text or "reverse" in text:
            return word[::-1]
        if "capital letters" in text or "upper case" in text:
            return word.upper()
        for place, index in (("first letter", 0), ("last letter", -1)):
            if place in text:
                return word[index]
    if found := re.search(r"alphabetical order:? ([\w ,]+)", asked):
        return ", ".join(sorted(re.findall(r"\w+", found[1])))
    return ""


def _fact(asked: str) -> str:
    world, words = era.facts("world"), set(re.findall(r"[a-z]+", asked.casefold()))
    if "day" in words and ("after" in words or "before" in words):
        days = world["days"]
        named = [index for index, day in enumerate(days) if day.casefold() in words]
        if named:
            return days[(named[0] + (1 if "after" in words else -1)) % 7]
    return next((answer for needs, answer in world["known"] if set(needs) <= words), "")
