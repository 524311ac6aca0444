# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests by an engine's real parser of arguments share: a process that judges words, and random arguments."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.flags import Flag, Parser
from hypothesis import strategies as st

Judge = Callable[[list[str]], str]
Found = tuple[str, list[str], Judge]
#: follows what makes ``parser`` and ``version``: prints the version and the names of all flags, and then for each
#: list of words why the parser refuses them
PROGRAM = """
import contextlib, io, json, sys
names = sorted(name[2:] for action in parser._actions for name in action.option_strings if name.startswith("--"))
print("READY" + json.dumps([version, names]), flush=True)
for line in sys.stdin:
    said, kept = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(kept):
            parser.parse_args(json.loads(line))
        answer = ""
    except SystemExit:
        answer = said.getvalue()[-300:]
    except Exception as error:
        answer = repr(error)
    print("SAID" + json.dumps(answer), flush=True)
"""


def answer(process: subprocess.Popen[str], mark: str) -> Any:
    """What the program prints behind a mark; an engine prints other lines before."""
    assert process.stdout
    for line in process.stdout:
        if line.startswith(mark):
            return json.loads(line[len(mark) :])
    raise AssertionError(f"the engine's parser has ended with {process.wait()}")


def asked(python: Path, program: str, environment: Mapping[str, str], absent: str) -> Iterator[Found]:
    """The engine's version, its flags, and its parser, which returns why it refuses words.

    :param absent: why nothing was judged, where that Python is not there or has no such engine.
    """
    if not python.is_file():
        pytest.skip(absent)
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [python, "-c", program + PROGRAM], stdin=pipe, stdout=pipe, text=True, env=dict(environment)
    )
    try:
        version, names = answer(process, "READY")

        def judge(words: list[str]) -> str:
            assert process.stdin
            print(json.dumps(words), file=process.stdin, flush=True)
            return str(answer(process, "SAID"))

        yield version, names, judge
    finally:
        process.kill()
        process.wait()


def values_of(flag: Flag) -> st.SearchStrategy[Any]:
    """Values that a flag takes."""
    number = st.integers(1, 4096)
    if flag.choices:
        return st.sampled_from(flag.choices)
    return {
        "switch": st.booleans(),
        "flag": st.booleans(),
        "int": number | number.map(str),
        "float": st.floats(0.01, 0.99),
        "size": number | st.sampled_from(["16k", "2G"]) | st.sampled_from(flag.words or ("1k",)),
        "si": number | st.sampled_from(["16k", "25.6k", "2G", "16Ki"]),
        "json": st.just({}),
        "list": st.lists(number, min_size=1, max_size=2),
        "str": st.from_regex(r"[a-z][a-z0-9_./-]{0,11}", fullmatch=True),
    }[flag.kind]


def arguments_of(parser: Parser, own_form: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """What people may say, by any spelling. :param own_form: flags whose words are of a form of their own."""
    flags = parser.flags
    names = [name for name in flags if not (parser.owner(name) or name in parser.secrets or name in own_form)]

    def said(name: str) -> st.SearchStrategy[tuple[str, str, Any]]:
        spelt = st.sampled_from([name, name.replace("-", "_"), *flags[name].short])
        return st.tuples(st.just(name), spelt, st.none() | values_of(flags[name]))

    drawn = st.lists(st.sampled_from(names).flatmap(said), max_size=6, unique_by=lambda one: one[0])
    return drawn.map(lambda many: {spelling: value for _name, spelling, value in many})


def check_is_of(version: str, parser: Parser, python: Path) -> None:
    """Judge nothing by another version than the table's."""
    if version != parser.version:
        pytest.skip(f"{parser.title} {version} is installed ({python}), and the table is of {parser.version}")
