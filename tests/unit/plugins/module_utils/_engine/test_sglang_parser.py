# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan makes of valid arguments is what SGLang's own parser takes.

Where SGLang can be imported, without a GPU: in the virtual environment that the variable SGLANG names, or in
build/sglang. What its parser needs beside ``pip install --no-deps sglang`` of the table's version are orjson, ipython,
and what vLLM for processors brings: torch, transformers and their like.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import image_parser, sglang_image
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.every_node import Request
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.sglang import ENGINE
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.sglang_options import PARSER, PROGRAM
from engine_parser import Found, arguments_of, asked, check_is_of
from hypothesis import given, settings

ROOT = Path(__file__).parents[5]
PYTHON = Path(os.environ.get("SGLANG", ROOT / "build" / "sglang")) / "bin" / "python"
MAKE = """
import argparse
import sglang
from sglang.srt.server_args import ServerArgs
parser = argparse.ArgumentParser(prog="sglang.launch_server")
ServerArgs.add_cli_args(parser)
version = sglang.__version__
"""
#: whose words are of a form of their own
OWN_FORM = ("cuda-graph-config", "lora-paths")
#: what only the plan takes for a name, as people write it
BRIEF = {"tp", "pp"}
MODEL = ["--model-path", "/models/snapshots/abc"]


@pytest.fixture(scope="module")
def sglang() -> Iterator[Found]:
    absent = f"SGLang is not installed ({PYTHON}): its own parser judged nothing. SGLANG=DIRECTORY names another one"
    yield from asked(PYTHON, MAKE, {**os.environ, "CUDA_VISIBLE_DEVICES": ""}, absent)


@given(said=arguments_of(PARSER, OWN_FORM))
@settings(deadline=None, max_examples=200)
def test_what_passes_is_taken_by_sglangs_own_parser(sglang: Found, said: dict[str, Any]) -> None:
    version, _names, judge = sglang
    check_is_of(version, PARSER, PYTHON)
    assert [found.text for found in PARSER.findings(said)] == []
    assert judge([*MODEL, *PARSER.render(said)]) == ""


def test_the_table_has_every_flag_of_this_version(sglang: Found) -> None:
    version, names, _judge = sglang
    check_is_of(version, PARSER, PYTHON)
    contraries = {f"no-{name}" for name, flag in PARSER.flags.items() if flag.kind == "switch"}
    others = {name for flag in PARSER.flags.values() for name in flag.short} - BRIEF
    assert set(names) - {"help"} == {*PARSER.flags, *others, *contraries}


def test_a_planned_command_and_a_ranks_place_are_what_sglang_takes_and_a_misspelt_flag_is_not(sglang: Found) -> None:
    _version, _names, judge = sglang
    planned = ENGINE.plan(
        Request(["a", "b"], "/c/snapshots/d", "/c", repo="lab/tiny", arguments={"tp": 2, "max_running_requests": 32})
    )
    serve = planned["serve"][len(PROGRAM) :]
    place = ["--nnodes", "2", "--dist-init-addr", "192.168.100.1:25000", "--host", "127.0.0.1", "--port", "8355"]
    for rank in ("0", "1"):
        assert judge([*serve, "--mem-fraction-static", "0.74", *place, "--node-rank", rank]) == ""
    assert "unrecognized arguments: --no-such-flag" in judge([*MODEL, "--no-such-flag"])


def test_what_an_image_says_of_its_flags_is_the_table(sglang: Found) -> None:
    version, _names, _judge = sglang
    check_is_of(version, PARSER, PYTHON)
    argv = [PYTHON, *sglang_image.PARSER.program.command[1:]]
    said = subprocess.run(argv, capture_output=True, text=True, check=True)
    found = sglang_image.PARSER.parsed(said.stdout.splitlines())
    flags = image_parser.told(found["flags"]) or {}
    flags = {name: flag._replace(choices=tuple(sorted(flag.choices))) for name, flag in flags.items()}  # some are sets
    assert (found["version"], flags) == (PARSER.version, PARSER.flags)
