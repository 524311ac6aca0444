# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others wrote or answered, in another form than the code expects: said in a sentence instead of a traceback.

This module util is private to the collection.
"""

from __future__ import annotations

import functools
from typing import Any, Callable, TypeVar, cast

#: what Python raises where a value has another form than the code expects
FORMS = (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
_OURS = f"{__name__.partition('module_utils')[0]}module_utils"

_Function = TypeVar("_Function", bound=Callable[..., Any])


def cause(error: BaseException) -> str:
    """Return what was in the way, for a message.

    >>> cause(KeyError("Spec")), cause(TypeError("x"))
    ("'Spec' is missing", 'x')
    """
    said = " ".join(str(error).split())[:200]
    return f"{said} is missing" if isinstance(error, KeyError) else said or type(error).__name__


def is_ours(error: BaseException) -> bool:
    """Whether an error is of a class of this collection, whose message is a sentence."""
    return type(error).__module__.startswith(_OURS)


def reads(error: type[Exception], what: str, mend: str) -> Callable[[_Function], _Function]:
    """Have a function that reads what is foreign raise one kind of error, whatever is wrong with what it reads.

    :param error: that kind; errors of this collection pass. :param what: is read. :param mend: what to do.

    >>> @reads(RuntimeError, "the answer", "ask again")
    ... def size(answer):
    ...     return answer["size"] + 1
    >>> size({"size": 1})
    2
    >>> size({})
    Traceback (most recent call last):
    RuntimeError: the answer cannot be read ('size' is missing): ask again
    """

    def decorate(function: _Function) -> _Function:
        @functools.wraps(function)
        def read(*arguments: Any, **more: Any) -> Any:
            try:
                return function(*arguments, **more)
            except FORMS as found:
                if is_ours(found):
                    raise
                raise error(f"{what} cannot be read ({cause(found)}): {mend}") from found

        return cast(_Function, read)

    return decorate
