# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan makes of valid arguments is what vLLM's own parser takes.

Where vLLM for processors is installed: in the directory that the variable VLLM names, or in build/vllm.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import image_parser, vllm_image
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.vllm_options import PARSER
from engine_parser import Found, arguments_of, asked, check_is_of
from hypothesis import given, settings

ROOT = Path(__file__).parents[5]
PYTHON = Path(os.environ.get("VLLM", ROOT / "build" / "vllm")) / "bin" / "python"
PROGRAM = """
import vllm
from vllm.utils.argparse_utils import FlexibleArgumentParser
try:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
except ImportError:
    from vllm.entrypoints.openai.cli_args import make_arg_parser
parser = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
version = vllm.__version__
"""
#: whose words are of a form of their own
OWN_FORM = ("lora-modules", "log-config-file", "device-ids", "custom-histogram-buckets", "ir-op-priority")


@pytest.fixture(scope="module")
def vllm() -> Iterator[Found]:
    absent = f"vLLM is not installed ({PYTHON}): its own parser judged nothing. VLLM=DIRECTORY names another one"
    yield from asked(PYTHON, PROGRAM, os.environ, absent)


@given(said=arguments_of(PARSER, OWN_FORM))
@settings(deadline=None, max_examples=200)
def test_what_passes_is_taken_by_vllms_own_parser(vllm: Found, said: dict[str, Any]) -> None:
    version, _names, judge = vllm
    check_is_of(version, PARSER, PYTHON)
    assert [found.text for found in PARSER.findings(said)] == []
    assert judge(["/models/snapshots/abc", *PARSER.render(said)]) == ""


def test_the_table_has_every_flag_of_this_version(vllm: Found) -> None:
    version, names, _judge = vllm
    check_is_of(version, PARSER, PYTHON)
    contraries = {f"no-{name}" for name, flag in PARSER.flags.items() if flag.kind == "switch"}
    others = {other for flag in PARSER.flags.values() for other in flag.short}
    assert set(names) - {"help"} - others == {*PARSER.flags, *contraries}


def test_what_the_image_is_asked_by_is_answered_with_the_table(vllm: Found) -> None:
    version, _names, _judge = vllm
    said = subprocess.run([PYTHON, *vllm_image.PARSER.program.command[1:]], capture_output=True, text=True, check=True)
    found = vllm_image.PARSER.parsed(said.stdout.splitlines())
    assert found["version"] == version
    check_is_of(version, PARSER, PYTHON)
    assert image_parser.told(found["flags"]) == PARSER.flags


def test_where_a_rank_is_is_what_vllm_takes_and_a_misspelt_flag_is_not(vllm: Found) -> None:
    _version, _names, judge = vllm
    place = ["--nnodes", "2", "--master-addr", "192.168.100.1", "--master-port", "29501", "--node-rank"]
    assert judge(["/models/x", *place, "0", "--host", "127.0.0.1", "--port", "8355"]) == ""
    assert judge(["/models/x", "--gpu-memory-utilization", "0.74", *place, "1", "--headless"]) == ""
    assert "unrecognized arguments: --no-such-flag" in judge(["/models/x", "--no-such-flag"])
