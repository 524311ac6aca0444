# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixed questions by which a serving's answers are judged, each with what is right.

They are easy on purpose: a sound model of some eight billion parameters answers them all, or nearly all, also in four
bits. A serving that lost its accuracy does not. This plugin util is private to the collection.
"""

from __future__ import annotations

from dataclasses import dataclass

NUMBER, WORD, LETTERS, LIST = "number", "word", "letters", "list"

#: what is asked for beside the question, so that form costs nobody a point
FORM = {
    NUMBER: "Reply with the number alone, in digits.",
    WORD: "Reply with the name alone.",
    LETTERS: "Reply with the result alone.",
    LIST: "Reply with the words alone.",
}


@dataclass(frozen=True)
class Question:
    """One question. What is right is equal in all languages that a model may think in."""

    id: str
    kind: str
    asks: str
    right: tuple[str, ...]  # any of these
    rivals: tuple[str, ...] = ()  # a right word beside one of these is no answer
    cased: bool = False  # whether capital letters matter

    @property
    def text(self) -> str:
        """The question, and in what form the answer is wanted."""
        return f"{self.asks} {FORM[self.kind]}"


QUESTIONS = (
    Question("sum", NUMBER, "What is 478 plus 356?", ("834",)),
    Question("product", NUMBER, "What is 23 times 17?", ("391",)),
    Question("difference", NUMBER, "What is 1000 minus 387?", ("613",)),
    Question("quotient", NUMBER, "What is 156 divided by 12?", ("13",)),
    Question("brackets", NUMBER, "Work out (8 + 7) * 6.", ("90",)),
    Question("remainder", NUMBER, "What is the remainder when 47 is divided by 6?", ("5",)),
    Question(
        "jars",
        NUMBER,
        "A shelf has 4 rows with 9 jars in each row. Then 5 jars are taken away. How many jars are left?",
        ("31",),
    ),
    Question("percent", NUMBER, "What is 15 percent of 200?", ("30",)),
    Question("digits", NUMBER, "Write three hundred and seven as a number.", ("307",)),
    Question("minutes", NUMBER, "How many minutes are in 4 hours?", ("240",)),
    Question("japan", WORD, "What is the capital of Japan?", ("Tokyo",), ("Kyoto", "Osaka")),
    Question("canada", WORD, "What is the capital of Canada?", ("Ottawa",), ("Toronto", "Montreal", "Vancouver")),
    Question("gold", WORD, "What is the chemical symbol of gold?", ("Au",), ("Ag", "Go", "Gd")),
    Question("planet", WORD, "Which planet is closest to the Sun?", ("Mercury",), ("Venus", "Mars", "Earth")),
    Question("ocean", WORD, "Which ocean is the largest on Earth?", ("Pacific",), ("Atlantic", "Indian", "Arctic")),
    Question("day", WORD, "Which day of the week comes right after Tuesday?", ("Wednesday",), ("Thursday", "Monday")),
    Question("backwards", LETTERS, 'Spell the word "lamp" backwards.', ("pmal",)),
    Question("letter", LETTERS, 'What is the last letter of the word "window"?', ("w",)),
    Question("capitals", LETTERS, 'Write the word "river" in capital letters.', ("RIVER",), cased=True),
    Question("order", LIST, "Put these words into alphabetical order: pear, apple, fig.", ("apple fig pear",)),
)

#: how a model without a chat template, which completes texts, is shown what is wanted
SHOTS = (
    ("What is 2 plus 3?", "5"),
    ("What is the capital of France?", "Paris"),
    ('Spell the word "cat" backwards.', "tac"),
)


def completion_prompt(asks: str) -> str:
    """The text that a model without a chat template goes on with, to the end of its line.

    >>> print(completion_prompt("What is 1 plus 1?")[-39:])
    tac
    Question: What is 1 plus 1?
    Answer:
    """
    shown = "".join(f"Question: {question}\nAnswer: {answer}\n" for question, answer in SHOTS)
    return f"{shown}Question: {asks}\nAnswer:"
