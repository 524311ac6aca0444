# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person answers, and what of it will do."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup import answers
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.answers import AnswerError, Model
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.search import Candidate
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.terminal import TRIES, Terminal
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError
from hypothesis import given
from hypothesis import strategies as st

FOUND = [
    Candidate("192.168.1.5", "spark-1", further=("192.168.100.10", "spark-1.local")),
    Candidate("192.168.1.6", "spark-2"),
    Candidate("192.168.1.7"),
]
KNOWN = [Model("lab/tiny", 1, 1), Model("lab/tiny-vlm", 2, 1), Model("lab/large", 134, 2), Model("lab/huge", 900, 0)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 2", ["192.168.1.5", "192.168.1.6"]),
        ("2,1", ["192.168.1.6", "192.168.1.5"]),
        (["2", "1"], ["192.168.1.6", "192.168.1.5"]),
        ("SPARK-2.local, spark-1", ["192.168.1.6", "192.168.1.5"]),
        (" 192.168.1.5 , 10.0.0.9 ", ["192.168.1.5", "10.0.0.9"]),
        ("fd00::7", ["fd00::7"]),
        ("gx10-49d1.local", ["gx10-49d1.local"]),
    ],
)
def test_takes_numbers_names_and_addresses(text: Any, expected: list[str]) -> None:
    assert [one.address for one in answers.hosts(text, FOUND)] == expected


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("10.0.0.9:2222", "10.0.0.9", 2222),
        ("[fd00::7]:2222", "fd00::7", 2222),
        ("[fd00::7]", "fd00::7", 22),
        ("a.b:23", "a.b", 23),
    ],
)
def test_takes_a_port_with_an_address(text: str, address: str, port: int) -> None:
    (one,) = answers.hosts(text, [])
    assert (one.address, one.port) == (address, port)


def test_a_found_machine_keeps_what_is_known_of_it() -> None:
    assert answers.hosts("192.168.1.5", FOUND) == [FOUND[0]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no Spark is named"),
        (" , ", "no Spark is named"),
        ("4", "there is no number 4: the table has 1 to 3"),
        ("0", "there is no number 0"),
        ("99999999999", "there is no number"),
        ("1 spark-1", "1 and spark-1 are the same machine"),
        ("192.168.1.5 spark-1.local", "are the same machine"),
        ("10.0.0.9 10.0.0.9", "are the same machine"),
        ("192.168.1.5 192.168.100.10", "are the same machine"),
        ("192.168.1.999", "is no number or name of the table, and no address"),
        ("-oProxyCommand=x", "no address"),
        ("10.0.0.9:x", "has the port 'x'"),
        ("10.0.0.9:70000", "has the port '70000'"),
        ("me@spark", "no address"),
    ],
)
def test_says_why_hosts_will_not_do(text: str, says: str) -> None:
    with pytest.raises(AnswerError) as refused:
        answers.hosts(text, FOUND)
    assert says in str(refused.value)


def test_says_that_nothing_was_found_where_a_number_is_given() -> None:
    with pytest.raises(AnswerError, match="no Spark was found; an address will do"):
        answers.hosts("1", [])


@given(st.text())
def test_no_answer_makes_a_host_that_is_an_option_or_a_command(text: str) -> None:
    try:
        chosen = answers.hosts(text, FOUND)
    except AnswerError:
        return
    for one in chosen:
        assert not one.address.startswith("-")
        assert not set(one.address) & set(" \t\n'\"$`;%(){}#")


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (FOUND[:2], ["spark-1", "spark-2"]),
        (FOUND, ["spark1", "spark2", "spark3"]),
        ([Candidate("10.0.0.1", "a"), Candidate("10.0.0.2", "a")], ["spark1", "spark2"]),
        ([Candidate("10.0.0.1", "a_b")], ["spark1"]),
        ([Candidate("10.0.0.1", "17")], ["spark1"]),
    ],
)
def test_names_sparks_by_their_host_names_where_these_will_do(chosen: list[Candidate], expected: list[str]) -> None:
    assert answers.default_names(chosen) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a", "1 names are given for 2 Sparks"),
        ("a b c", "3 names"),
        ("a a", "given twice"),
        ("a A", "given twice"),
        ("a b_c", "no name for a Spark"),
        ("a 7", "no name for a Spark"),
        ("a -b", "no name for a Spark"),
    ],
)
def test_says_why_names_will_not_do(text: str, says: str) -> None:
    with pytest.raises(AnswerError, match=says):
        answers.names(text, 2)


def test_takes_names_in_any_case() -> None:
    assert answers.names("Left, right", 2) == ["left", "right"]


@pytest.mark.parametrize("text", ["", "-l", "a b", "a;b", "é", "x" * 40])
def test_refuses_what_is_no_account(text: str) -> None:
    with pytest.raises(AnswerError, match="first boot"):
        answers.user(text)


@pytest.mark.parametrize("text", ["nvidia", "_a", "first.last", "A-1"])
def test_takes_an_account(text: str) -> None:
    assert answers.user(f" {text} ") == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("y", True), ("Yes ", True), ("true", True), ("1", True), ("n", False), ("No", False), ("False", False)],
)
def test_takes_yes_and_no(text: str, expected: bool) -> None:
    assert answers.yes(text, not expected) is expected


def test_enter_is_the_default_and_anything_else_is_asked_again() -> None:
    assert answers.yes("", True) is True
    assert answers.yes(" ", False) is False
    with pytest.raises(AnswerError, match="'maybe' is neither yes nor no"):
        answers.yes("maybe", False)


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("1", 1, "lab/tiny"),
        ("lab/tiny", 1, "lab/tiny"),
        ("LAB/Large", 2, "lab/large"),
        ("vlm", 1, "lab/tiny-vlm"),
        ("large", 3, "lab/large"),
        ("some/other-7B", 1, "some/other-7B"),
        ("lab/huge", 1, "lab/huge"),
    ],
)
def test_takes_a_number_a_handle_and_a_part_of_one(text: str, count: int, expected: str) -> None:
    assert answers.model(text, KNOWN, count) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("3", "lab/large needs 2 Sparks, and 1 is chosen"),
        ("lab/large", "choose a smaller one"),
        ("5", "there is no model 5: the table has 1 to 4"),
        ("0", "there is no model 0"),
        ("tiny", "part of 2 handles: lab/tiny, lab/tiny-vlm"),
        ("", "no model of the table"),
        ("nothing", "no model of the table"),
    ],
)
def test_says_why_a_model_will_not_do(text: str, says: str) -> None:
    with pytest.raises(AnswerError) as refused:
        answers.model(text, KNOWN, 1)
    assert says in str(refused.value)


def test_the_catalogue_says_how_many_sparks_a_model_needs() -> None:
    known = answers.models(catalogue.load())
    least = {one.handle: one.sparks for one in known}
    assert len(known) == len(catalogue.load())
    assert least["openai/gpt-oss-20b"] == 1
    assert least["nvidia/Qwen3-235B-A22B-FP4"] == 2
    assert least["nvidia/Llama-3.1-405B-Instruct-FP4"] == 4, "although its entry names no least number"
    assert [one.sparks for one in known] == sorted(one.sparks for one in known)
    table = answers.model_table(known)
    assert len(table) == len(known) + 1
    assert table[0].split() == ["model", "GB", "Sparks"]
    assert table[1].split() == ["1", known[0].handle, f"{known[0].gigabytes:g}", "1"]


def test_a_model_that_no_number_of_sparks_can_be_said_of_has_a_question_mark() -> None:
    assert answers.model_table([Model("a/b", None, 0)])[1].split() == ["1", "a/b", "?", "?"]


# ---- the terminal


class Person:
    """Answers in turn, and keeps what was asked and shown."""

    def __init__(self, *said: str | type[Exception]) -> None:
        self.said = list(said)
        self.asked: list[tuple[str, bool]] = []
        self.shown: list[str] = []

    def terminal(self) -> Terminal:
        return Terminal(self.read, self.shown.append)

    def read(self, question: str, private: bool = False) -> bytes:
        self.asked.append((question, private))
        answer = self.said.pop(0)
        if isinstance(answer, str):
            return answer.encode()
        raise answer("")


def test_asks_again_until_an_answer_will_do() -> None:
    person = Person("maybe", "yes")
    assert person.terminal().settle("", "Really?", lambda text: answers.yes(text, False), "By hand.", "no") is True
    assert [question for question, _private in person.asked] == ["Really? [no]:"] * 2
    assert person.shown == ["'maybe' is neither yes nor no."]


def test_enter_takes_the_default() -> None:
    assert Person("").terminal().settle("", "User", answers.user, "By hand.", "nvidia") == "nvidia"


def test_gives_up_after_some_answers() -> None:
    person = Person(*["?"] * TRIES)
    with pytest.raises(PlanError, match=r"'\?' is no name of an account.* By hand\."):
        person.terminal().settle("", "User", answers.user, "By hand.", "nvidia")
    assert person.said == []


def test_a_variable_is_not_asked_for_and_has_one_try() -> None:
    person = Person()
    assert person.terminal().settle("me", "User", answers.user, "By hand.") == "me"
    with pytest.raises(PlanError, match=r"' -l' is no|'-l' is no .* By hand\."):
        person.terminal().settle("-l", "User", answers.user, "By hand.")
    assert person.asked == []


@pytest.mark.parametrize(
    ("happens", "says"),
    [
        (AnsiblePromptNoninteractive, "There is no terminal to ask in: User:"),
        (AnsiblePromptInterrupt, "Interrupted at the question: User:"),
    ],
)
def test_says_what_to_do_by_hand_where_nobody_answers(happens: type[Exception], says: str) -> None:
    with pytest.raises(PlanError, match=f"{says} By hand"):
        Person(happens).terminal().settle("", "User", answers.user, "By hand.")


def test_what_is_private_is_asked_so() -> None:
    person = Person(" secret ")
    assert person.terminal().ask("Password:", "By hand.", private=True) == " secret ", "spaces may be part of it"
    assert person.asked == [("Password:", True)]
