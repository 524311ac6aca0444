# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan makes of valid arguments is what vLLM's own parser takes.

Where vLLM for processors is installed: in the directory that the variable VLLM names, or in build/vllm.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import vllm_image
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import vllm_options as settings
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.vllm_cli import FLAGS, VERSION, Flag
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

ROOT = Path(__file__).parents[5]
PYTHON = Path(os.environ.get("VLLM", ROOT / "build" / "vllm")) / "bin" / "python"
#: prints the version and the names of all flags, and then for each list of words why the parser refuses them
PROGRAM = """
import contextlib, io, json, sys
import vllm
from vllm.utils.argparse_utils import FlexibleArgumentParser
try:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
except ImportError:
    from vllm.entrypoints.openai.cli_args import make_arg_parser
parser = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
names = sorted(name[2:] for action in parser._actions for name in action.option_strings if name.startswith("--"))
print("READY" + json.dumps([vllm.__version__, names]), flush=True)
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
#: whose words are of a form of their own
OWN_FORM = ("lora-modules", "log-config-file", "device-ids", "custom-histogram-buckets", "ir-op-priority")

Parser = Callable[[list[str]], str]


def answer(process: subprocess.Popen[str], mark: str) -> Any:
    """What the program prints behind a mark; vLLM prints other lines before."""
    assert process.stdout
    for line in process.stdout:
        if line.startswith(mark):
            return json.loads(line[len(mark) :])
    raise AssertionError(f"vLLM's parser has ended with {process.wait()}")


@pytest.fixture(scope="module")
def vllm() -> Iterator[tuple[str, list[str], Parser]]:
    """vLLM's version, its flags, and its parser, which returns why it refuses words."""
    if not PYTHON.is_file():
        pytest.skip(
            f"vLLM is not installed ({PYTHON}): its own parser judged nothing. VLLM=DIRECTORY names another one"
        )
    pipe = subprocess.PIPE
    process = subprocess.Popen([PYTHON, "-c", PROGRAM], stdin=pipe, stdout=pipe, text=True)
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
        "json": st.just({}),
        "list": st.lists(number, min_size=1, max_size=2),
        "str": st.from_regex(r"[a-z][a-z0-9_./-]{0,11}", fullmatch=True),
    }[flag.kind]


def spelt(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name, name.replace("-", "_"), *FLAGS[name].short])


def is_for_people(name: str) -> bool:
    taken = name in settings.OWNED or name in settings.SECRETS or name.startswith(tuple(settings.OWNED_BEGINNINGS))
    return not taken and name not in OWN_FORM


one = st.sampled_from([name for name in FLAGS if is_for_people(name)]).flatmap(
    lambda name: st.tuples(st.just(name), spelt(name), st.none() | values_of(FLAGS[name]))
)
arguments = st.lists(one, max_size=6, unique_by=lambda drawn: drawn[0]).map(
    lambda drawn: {spelling: value for _name, spelling, value in drawn}
)


@given(said=arguments)
@hypothesis(deadline=None, max_examples=200)
def test_what_passes_is_taken_by_vllms_own_parser(vllm: tuple[str, list[str], Parser], said: dict[str, Any]) -> None:
    version, _names, judge = vllm
    if version != VERSION:
        pytest.skip(f"vLLM {version} is installed ({PYTHON}), and the table is of {VERSION}")
    assert [found.text for found in settings.findings(said)] == []
    assert judge(["/models/snapshots/abc", *settings.render(said)]) == ""


def test_the_table_has_every_flag_of_this_version(vllm: tuple[str, list[str], Parser]) -> None:
    version, names, _judge = vllm
    if version != VERSION:
        pytest.skip(f"vLLM {version} is installed ({PYTHON}), and the table is of {VERSION}")
    contraries = {f"no-{name}" for name, flag in FLAGS.items() if flag.kind == "switch"}
    others = {other for flag in FLAGS.values() for other in flag.short}
    assert set(names) - {"help"} - others == {*FLAGS, *contraries}


def test_what_the_image_is_asked_by_is_answered_with_the_table(vllm: tuple[str, list[str], Parser]) -> None:
    version, _names, _judge = vllm
    asked = subprocess.run([PYTHON, "-c", vllm_image.PROGRAM], capture_output=True, text=True, check=True)
    said = vllm_image.parsed(asked.stdout.splitlines())
    assert said["version"] == version
    if version != VERSION:
        pytest.skip(f"vLLM {version} is installed ({PYTHON}), and the table is of {VERSION}")
    assert vllm_image.told(said["flags"]) == FLAGS


def test_where_a_rank_is_is_what_vllm_takes_and_a_misspelt_flag_is_not(vllm: tuple[str, list[str], Parser]) -> None:
    _version, _names, judge = vllm
    place = ["--nnodes", "2", "--master-addr", "192.168.100.1", "--master-port", "29501", "--node-rank"]
    assert judge(["/models/x", *place, "0", "--host", "127.0.0.1", "--port", "8355"]) == ""
    assert judge(["/models/x", "--gpu-memory-utilization", "0.74", *place, "1", "--headless"]) == ""
    assert "unrecognized arguments: --no-such-flag" in judge(["/models/x", "--no-such-flag"])
