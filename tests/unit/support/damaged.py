# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged values, texts and files, as a host can have them, for tests that find no bare error."""

from __future__ import annotations

import copy
import os
import stat
from pathlib import Path
from typing import Any, Callable, Iterator

from hypothesis import strategies as st

OURS = "ansible_collections.sparkops."
#: what may stand where something else is expected
WRONG = st.one_of(
    st.none(),
    st.sampled_from([[], {}, "", "x", [None], {"x": None}, [[]], ["x"], 0, -1, 2**63, 1.5, True, "\ud800", "é\0"]),
)
_PIECES = st.sampled_from(
    ["", "\n", "\0", "{", "}", "[", "null", '"', "é", "\ud800", "9" * 5000, r"\ud800", ":", "=", " ", "-", "²"]
)
_SPLICES = st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 30), _PIECES), min_size=1, max_size=4)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values within a value, its own first."""
    yield path
    if isinstance(value, dict):
        for key, one in value.items():
            yield from places(one, (*path, key))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from places(one, (*path, index))


def _replaced(value: Any, path: tuple[Any, ...], wrong: Any, *, gone: bool) -> Any:
    if not path:
        return wrong
    value = copy.deepcopy(value)
    target = value
    for step in path[:-1]:
        target = target[step]
    if gone:
        del target[path[-1]]
    else:
        target[path[-1]] = wrong
    return value


@st.composite
def values(draw: Any, good: Any, *, whole: bool = True, wrong: st.SearchStrategy[Any] = WRONG) -> Any:
    """A value with one or two places damaged: another type stands there, or nothing does.

    :param whole: whether all of it may be something else. :param wrong: what may stand there.
    """
    damaged = copy.deepcopy(good)
    for _time in range(draw(st.integers(1, 2))):
        known = [path for path in places(damaged) if path or whole]
        if not known:
            break
        path = draw(st.sampled_from(known))
        damaged = _replaced(damaged, path, draw(wrong), gone=bool(path) and draw(st.booleans()))
    return damaged


@st.composite
def texts(draw: Any, *good: str) -> str:
    """A text with some places cut out or overwritten, or any text."""
    text = draw(st.sampled_from(good))
    if draw(st.integers(0, 9)) == 0:
        return draw(st.text())
    for start, length, piece in draw(_SPLICES):
        start %= len(text) + 1
        text = text[:start] + piece + text[start + length :]
    return text


def is_ours(error: BaseException) -> bool:
    """Whether an error is one of this collection's, whose message is a sentence."""
    return type(error).__module__.startswith(OURS)


def meant_for_people(function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """Call a function; an error of this collection is an answer, any other is a bare error."""
    found: Any = None
    try:
        found = function(*arguments, **more)
    except Exception as error:
        if not is_ours(error):
            raise
        found = error
    if isinstance(found, Exception):
        assert len(str(found).split()) > 3, f"no sentence: {found}"
    return found


def null_device(folder: Path) -> Path:
    """A device like /dev/null, which nothing is lost with; the real one for who may not harm it."""
    path = folder / "null"
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except FileExistsError:
        return path
    except PermissionError:
        return Path("/dev/null")
    return path


#: what may lie where a file is expected, by how to make it there
FILES: dict[str, Callable[[Path], Any]] = {
    "a directory": lambda path: path.mkdir(),
    "a dead link": lambda path: path.symlink_to(path.parent / "not-mounted/at/all"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a directory": lambda path: path.symlink_to(path.parent),
    "nothing in it": lambda path: path.write_bytes(b""),
    "null": lambda path: path.write_text("null"),
    "a list": lambda path: path.write_text('["x"]'),
    "a list of lists": lambda path: path.write_text("[[]]"),
    "a string": lambda path: path.write_text('"x"'),
    "a number": lambda path: path.write_text("3"),
    "a long number": lambda path: path.write_text("9" * 5000),
    "nulls in it": lambda path: path.write_text('{"x": null, "runtimes": null, "node-generic-resources": null}'),
    "lists in it": lambda path: path.write_text('{"x": [], "runtimes": [], "path": [], "digest": 3, "key": []}'),
    "half of it": lambda path: path.write_text('{"x": '),
    "no UTF-8": lambda path: path.write_bytes(b"\xff\xfe{\0"),
    "deeply nested": lambda path: path.write_text('{"x":' * 3000 + "1" + "}" * 3000),
    "nested a little": lambda path: path.write_text('{"x":' * 400 + "1" + "}" * 400),
    "a link to a device": lambda path: path.symlink_to(null_device(path.parent)),
}
