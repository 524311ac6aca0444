# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an answer is right: tolerant of its form, strict in what it says. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate.questions import (
    LETTERS,
    LIST,
    NUMBER,
    Question,
)

#: where a model that reasons ends its thoughts, in the spellings of several families
_END_OF_THOUGHT = re.compile(
    r"</think(?:ing)?>|</thought>|</reasoning>|\[/THINK\]|<\|channel\|>\s*final\s*<\|message\|>", re.IGNORECASE
)
_THOUGHT = re.compile(r"<think(?:ing)?>|<thought>|<reasoning>|\[THINK\]|<\|channel\|>\s*analysis", re.IGNORECASE)
_TOKEN = re.compile(r"<\|[^|<>]*\|>|</s>|<eos>|<end_of_turn>")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_SAID = re.compile(r"\banswer\b[^\n:=]{0,40}?(?:\bis\b|[:=])\s*([^\n]+)", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])-?\d{1,3}(?:[,' ]\d{3})+(?![\d])(?:\.\d+)?|(?<![\w.])-?\d+(?:\.\d+)?")
_QUOTED = re.compile(r"(?<!\w)[\"'`]([^\"'`]+)[\"'`](?!\w)")
#: typographers' signs, and those that are on a keyboard
_PLAIN = str.maketrans(
    dict.fromkeys("\u201c\u201d\u201e", '"')
    | dict.fromkeys("\u2018\u2019", "'")
    | dict.fromkeys("\u2010\u2011\u2013\u2212", "-")
)
FEW_WORDS = 2  # of a line that is an answer alone
MOST_WORDS = 15  # of a sentence that still is an answer, and not a talk around it


def spoken(text: str) -> str:
    """What a model said after its thoughts, empty where it did not come to that.

    A chat template may have opened the thoughts itself, so that a text may begin in them.

    >>> spoken("<think>17 * 20 = 340</think>\\n391"), spoken("340, then 51</think>391"), spoken("<think>340 and")
    ('391', '391', '')
    """
    ends = list(_END_OF_THOUGHT.finditer(text))
    if ends:
        text = text[ends[-1].end() :]
    if begun := _THOUGHT.search(text):
        text = text[: begun.start()]
    return _TOKEN.sub("", unicodedata.normalize("NFKC", text).translate(_PLAIN)).strip()


def is_right(question: Question, text: str) -> bool:
    """Whether a text answers a question rightly.

    :param text: as the model wrote it, thoughts included.
    """
    said = spoken(text)
    if question.kind == NUMBER:
        return number_of(said, question.asks) in {Fraction(one) for one in question.right}
    if question.kind == LIST:
        return _in_order(said, question.right[0].split())
    if question.kind == LETTERS:
        return _letters(said, question.cased) in {_cased(one, question.cased) for one in question.right}
    return _names(said, question)


def claims(said: str) -> list[str]:
    """The parts of a text that may be the answer, the likeliest first.

    That is what is marked as the answer, a first line of few words, as before an explanation, the last line, and the
    first one.

    >>> claims("Let me see.\\n**The answer is 12.**")
    ['The answer is 12', '12', 'The answer is 12', 'Let me see']
    """
    lines = [line for line in said.splitlines() if line.strip()]
    marked = [*_BOXED.findall(said)[-1:], *_BOLD.findall(said)[-1:], *_SAID.findall(said)[-1:]]
    short = [line for line in lines[:1] if len(line.split()) <= FEW_WORDS]
    found = [*marked, *short, *lines[-1:], *lines[:1]]
    return [stripped for one in found if (stripped := _stripped(one))]


def _stripped(text: str) -> str:
    """Without the marks around it."""
    return re.sub(r"[*_$`]|\\[()\[\]]", "", text).strip().strip(".!:;,").strip()


def number_of(said: str, asks: str = "") -> Fraction | None:
    """The one number that a text claims; None where it claims none, or more than one.

    :param asks: the question, whose own numbers may be repeated.

    >>> number_of("478 + 356 = 834"), number_of("It is 1,000."), number_of("12 or 13"), number_of("31 jars are left.")
    (Fraction(834, 1), Fraction(1000, 1), None, Fraction(31, 1))
    """
    asked = set(_numbers(asks))
    for claim in claims(said):
        for part in (re.split(r"=|≈", claim)[-1], re.split(r"\b(?:is|are|equals|gives|makes)\b", claim)[-1], claim):
            numbers = _numbers(part)
            new = {one for one in numbers if one not in asked}
            if len(set(numbers)) == 1:
                return numbers[0]
            if len(new) == 1:
                return new.pop()
    return None


def _numbers(text: str) -> list[Fraction]:
    return [Fraction(re.sub(r"[,' ]", "", one)) for one in _NUMBER.findall(text)]


def _names(said: str, question: Question) -> bool:
    """Whether a text names what is right, and nothing that it could be taken for, and does not deny it."""
    for claim in claims(said):
        words = re.findall(r"\w+", claim.casefold())
        if not words or len(words) > MOST_WORDS:
            continue
        text = f" {' '.join(words)} "
        if any(f" {one.casefold()} " in text for one in (*question.rivals, "not", "never", "t")):
            return False
        return any(f" {one.casefold()} " in text for one in question.right)
    return False


def _letters(said: str, cased: bool) -> str:
    """The result of a task with letters: what is quoted last, or the last word; letters that stand apart are joined."""
    for claim in claims(said):
        quoted = _QUOTED.findall(claim)
        text = quoted[-1] if quoted else claim
        apart = re.sub(r"[\s,.-]+", "", text)
        if re.fullmatch(r"(?:\w[\s,.-]+)+\w", text):
            return _cased(apart, cased)
        words = re.findall(r"\w+", text)
        if words:
            return _cased(words[-1], cased)
    return ""


def _cased(text: str, cased: bool) -> str:
    return text if cased else text.casefold()


def _in_order(said: str, wanted: list[str]) -> bool:
    """Whether a text ends with these words in this order, and has none of them before."""
    words = re.findall(r"[^\W\d_]+", said.casefold())
    return [one for one in words if one in wanted] == wanted and words[-1:] == wanted[-1:]
