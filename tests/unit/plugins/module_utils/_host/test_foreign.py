# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of others and has another form than expected is said in words."""

from __future__ import annotations

import doctest
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import foreign
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError


class AnswerError(ValueError):
    """An error of the reader."""


@foreign.reads(AnswerError, "the answer", "ask again")
def read(function: Any) -> Any:
    """Call a function."""
    return function()


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda: {}["Spec"], "'Spec' is missing"),
        (lambda: [][1], "list index out of range"),
        (lambda: None.x, "'NoneType' object has no attribute 'x'"),
        (lambda: 1 + None, "unsupported operand"),
        (lambda: int("x"), "invalid literal"),
        (lambda: int(float("inf")), "infinity"),
    ],
)
def test_another_form_is_one_kind_of_error(function: Any, says: str) -> None:
    with pytest.raises(AnswerError, match=r"the answer cannot be read .*: ask again") as refusal:
        read(function)
    assert says in str(refusal.value)


def test_errors_of_this_collection_and_of_the_system_pass() -> None:
    def fail(error: Exception) -> Any:
        raise error

    for error in (FileError("a b"), OSError("c")):
        with pytest.raises(type(error)) as passed:
            read(lambda error=error: fail(error))
        assert passed.value is error


def test_doctests() -> None:
    assert doctest.testmod(foreign).failed == 0
