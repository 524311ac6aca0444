# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of many forms are judged by what they say."""

from __future__ import annotations

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate.judge import is_right, spoken
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate.questions import (
    NUMBER,
    QUESTIONS,
    Question,
)
from hypothesis import given
from hypothesis import strategies as st

BY_ID = {one.id: one for one in QUESTIONS}


@pytest.mark.parametrize(
    ("ident", "text", "right"),
    [
        ("product", "391", True),
        ("product", " 391.\n", True),
        ("product", "23 times 17 is 391.", True),
        ("product", "23 \u00d7 17 = **391**", True),
        ("product", "23 \u00d7 17 = 391", True),
        ("product", "Step by step:\n20 * 17 = 340\n3 * 17 = 51\nThe answer is 391.", True),
        ("product", "$\\boxed{391}$", True),
        ("product", "<think>It may be 381.</think>391", True),
        ("product", "It may be 381.</think>\n\n391", True),
        ("product", "<|channel|>analysis<|message|>381?<|end|><|channel|>final<|message|>391", True),
        ("product", "391.0", True),
        ("product", "391\n\nHere is how: 20 times 17 is 340, and 3 times 17 is 51.", True),
        ("product", "381\n\nHere is how: 20 times 17 is 340, and 3 times 17 is 41.", False),
        ("product", "381", False),
        ("product", "3910", False),
        ("product", "-391", False),
        ("product", "391 or 381", False),
        ("product", "<think>391", False),
        ("product", "<think>391</think>", False),
        ("product", "<think>It is 391.</think>It is 381.", False),
        ("product", "", False),
        ("product", "!!!!!!!!!!!!!!!!", False),
        ("product", "23 23 23 23 17 17", False),
        ("product", "three hundred and ninety-one", False),
        ("quotient", "156 divided by 12 is 13", True),
        ("quotient", "12", False),
        ("difference", "613", True),
        ("difference", "1,000 \u2212 387 = 613", True),
        ("minutes", "There are 240 minutes in 4 hours.", True),
        ("minutes", "4", False),
        ("jars", "4 rows with 9 jars are 36 jars. 36 - 5 = 31\n\n**31**", True),
        ("jars", "31 jars are left.", True),
        ("jars", "36", False),
        ("japan", "Tokyo", True),
        ("japan", "tokyo.", True),
        ("japan", "The capital of Japan is **Tokyo**.", True),
        (
            "japan",
            "Tokyo\n\nIt has been the capital since 1868, when the emperor moved there from Kyoto, and so on.",
            True,
        ),
        ("japan", "Kyoto\n\nTokyo", False),
        ("japan", "Kyoto", False),
        ("japan", "Tokyo or Kyoto", False),
        ("japan", "It is not Tokyo.", False),
        ("japan", "It isn't Tokyo.", False),
        ("japan", "Tokyoto", False),
        ("gold", "Au", True),
        ("gold", "The chemical symbol of gold is Au.", True),
        ("gold", "Aurum", False),
        ("gold", "Ag", False),
        ("ocean", "The Pacific Ocean", True),
        ("ocean", "Pacific " * 40, False),
        ("backwards", "pmal", True),
        ("backwards", '"pmal"', True),
        ("backwards", "P-M-A-L", True),
        ("backwards", "p m a l", True),
        ("backwards", 'The word "lamp" spelled backwards is "pmal".', True),
        ("backwards", "lamp", False),
        ("backwards", "plam", False),
        ("letter", "w", True),
        ("letter", 'The last letter of the word "window" is "W".', True),
        ("letter", "The word's last letter is 'w'.", True),
        ("letter", "The last letter is `w`.", True),
        ("letter", '"The word\'s last letter is w"', True),
        ("letter", "window", False),
        ("capitals", "RIVER", True),
        ("capitals", "**RIVER**", True),
        ("capitals", "River", False),
        ("order", "apple, fig, pear", True),
        ("order", "1. Apple\n2. Fig\n3. Pear", True),
        ("order", "In alphabetical order: apple, fig and pear.", True),
        ("order", "apple, pear, fig", False),
        ("order", "pear, apple, fig", False),
        ("order", "apple, fig, pear, plum", False),
        ("order", "apple, fig", False),
    ],
)
def test_an_answer_is_judged_by_what_it_says(ident: str, text: str, right: bool) -> None:
    assert is_right(BY_ID[ident], text) is right


def test_there_are_twenty_questions_with_names_of_their_own() -> None:
    assert len(QUESTIONS) == len(BY_ID) == 20


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.id)
def test_its_own_right_answer_is_right_and_no_other_question_s(question: Question) -> None:
    assert is_right(question, question.right[0])
    others = [one for one in QUESTIONS if one.right != question.right]
    assert not [one.id for one in others if is_right(one, question.right[0])]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.id)
def test_the_question_itself_is_no_answer(question: Question) -> None:
    """A model that repeats what it is asked has said nothing."""
    assert not is_right(question, question.text)


@given(st.text(max_size=60))
def test_any_text_can_be_judged(text: str) -> None:
    assert [is_right(one, text) for one in QUESTIONS].count(True) <= 3


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_a_number_is_right_if_it_is_the_number(right: int, said: int) -> None:
    question = Question("it", NUMBER, "Which number?", (str(right),))
    assert is_right(question, f"{said:,}") is (right == said)
    assert is_right(question, f"The answer is **{said}**.") is (right == said)


@given(st.text("ab <>/think", max_size=40), st.integers(0, 99))
def test_thoughts_never_count(thoughts: str, number: int) -> None:
    assert spoken(f"<think>{thoughts}</think>{number}") == str(number)
