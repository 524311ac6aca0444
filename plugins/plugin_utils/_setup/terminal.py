# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to the person at the terminal, through Ansible's own prompt; a task's standard input leads nowhere.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Callable, Sequence, TypeVar

from ansible.errors import AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.utils.display import Display
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.answers import AnswerError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError

TRIES = 5
_Value = TypeVar("_Value")


class Terminal:
    """Asks, and asks again where an answer will not do."""

    def __init__(
        self,
        read: Callable[..., bytes] | None = None,
        show: Callable[[str], object] | None = None,
    ) -> None:
        self._read = read or Display().prompt_until
        self._show = show or Display().display
        self.asked = False  # whether anything was

    def show(self, lines: Sequence[str] | str) -> None:
        """Show text as it is."""
        self._show(lines if isinstance(lines, str) else "\n".join(lines))

    def ask(self, question: str, by_hand: str, private: bool = False) -> str:
        """Return the answer.

        :param by_hand: what a person can do where there is no terminal. :raises PlanError: there, and after Ctrl+C.
        """
        self.asked = True
        try:
            return self._read(question, private=private).decode("utf-8", "replace")
        except AnsiblePromptNoninteractive:
            raise PlanError(f"There is no terminal to ask in: {question} {by_hand}") from None
        except AnsiblePromptInterrupt:
            raise PlanError(f"Interrupted at the question: {question} {by_hand}") from None

    def settle(
        self, given: str, question: str, check: Callable[[str], _Value], by_hand: str, default: str = ""
    ) -> _Value:
        """Return what ``check`` makes of an answer.

        :param given: the answer, where a variable has it. :param by_hand: as of :meth:`ask`. :param default: for Enter.
        :raises PlanError: where the variable's will not do, or none of some answers will.
        """
        if given:
            return self._checked(given, check, by_hand)
        shown = f"{question} [{default}]:" if default else f"{question}:"
        for _turn in range(TRIES - 1):
            try:
                return check(self.ask(shown, by_hand).strip() or default)
            except AnswerError as error:
                self.show(f"{error}.")
        return self._checked(self.ask(shown, by_hand).strip() or default, check, by_hand)

    @staticmethod
    def _checked(answer: str, check: Callable[[str], _Value], by_hand: str) -> _Value:
        try:
            return check(answer)
        except AnswerError as error:
            raise PlanError(f"{error}. {by_hand}") from error
