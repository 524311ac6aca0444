# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image of SGLang says of its flags: the program that asks its parser, and what comes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import (
    image_names,
    image_parser,
    sglang_image,
    sglang_options,
)

#: SIMULATED: SGLang's parser, as far as this program looks: functions of its types, and actions of its own
PARSER = """
import argparse, json
def human_readable_int(value): return value
def json_list_type(value): return value
class DeprecatedStoreTrueAction(argparse.Action):
    def __init__(self, option_strings, dest, **kwargs): super().__init__(option_strings, dest, nargs=0, **kwargs)
class ServerArgs:
    @staticmethod
    def add_cli_args(parser):
        parser.add_argument("--model-path", "--model", required=True)
        parser.add_argument("--tp-size", "--tensor-parallel-size", type=int)
        parser.add_argument("--context-length", type=human_readable_int)
        parser.add_argument("--forward-hooks", type=json_list_type)
        parser.add_argument("--kv-events-config", type=str)
        parser.add_argument("--kv-cache-dtype", choices=["auto", "fp8_e4m3"])
        parser.add_argument("--gc-threshold", nargs="+", type=int)
        parser.add_argument("--enable-metrics", action="store_true")
        parser.add_argument("--lora-strict-loading", action=argparse.BooleanOptionalAction)
        parser.add_argument("--disable-cuda-graph", action=DeprecatedStoreTrueAction)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """SIMULATED: a package of that name."""
    inner = tmp_path / "sglang" / "srt"
    inner.mkdir(parents=True)
    (tmp_path / "sglang" / "__init__.py").write_text('__version__ = "0.5.23"\nprint("a line of its own")\n')
    (inner / "__init__.py").touch()
    (inner / "server_args.py").write_text(PARSER)
    return tmp_path


def test_the_program_prints_what_the_parser_has(package: Path) -> None:
    argv = [sys.executable, *sglang_image.PARSER.program.command[1:]]
    done = subprocess.run(argv, env={"PYTHONPATH": str(package)}, capture_output=True, text=True, check=True)
    said = sglang_image.PARSER.parsed(done.stdout.splitlines())
    assert said["version"] == "0.5.23"
    flags = image_parser.told(said["flags"])
    assert flags is not None
    assert {name: flag.kind for name, flag in flags.items()} == {
        "model-path": "str",
        "tp-size": "int",
        "context-length": "si",
        "forward-hooks": "json",
        "kv-events-config": "json",
        "kv-cache-dtype": "str",
        "gc-threshold": "list",
        "enable-metrics": "flag",
        "lora-strict-loading": "switch",
        "disable-cuda-graph": "flag",
    }
    assert flags["tp-size"].short == ("tensor-parallel-size", "tp")
    assert flags["kv-cache-dtype"].choices == ("auto", "fp8_e4m3")


def test_by_the_images_own_word_an_unknown_name_is_refused_with_the_nearest() -> None:
    flags = image_parser.told({"context-length": {"kind": "si"}, "tp-size": {"kind": "int", "short": ["tp"]}})
    found = list(sglang_options.PARSER.findings({"context_lenght": 5, "tp": 2, "log_level": "info"}, flags))
    says = "is no flag of the image's sglang.launch_server, as it says itself"
    assert [one.text for one in found] == [
        f"context_lenght {says}; did you mean context_length?",
        f"log_level {says}",
    ]
    assert all(one.refused for one in found)


@pytest.mark.parametrize(
    "said", [[], ["no line"], ["dgx-spark-flags: {"], ['dgx-spark-flags: {"version": 1}'], ["dgx-spark-flags: [1]"]]
)
def test_what_says_nothing_says_nothing(said: list[str]) -> None:
    assert sglang_image.PARSER.parsed(said) == {}


@pytest.mark.parametrize(
    ("image", "name", "problem"),
    [
        (
            "lmsysorg/sglang:latest-cu130",
            "trtllm",
            "an image of SGLang, and TensorRT-LLM is to serve: set trtllm_serve",
        ),
        ("nvcr.io/nvidia/vllm:26.05-py3", "trtllm", "spark_image, or spark_engine: vllm"),
        ("nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5", "sglang", "spark_image, or spark_engine: trtllm"),
        ("nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5", "trtllm", ""),
        ("registry.example:5000/vllm/mine:1", "trtllm", ""),
    ],
)
def test_an_image_of_another_engine_is_refused_by_its_name(image: str, name: str, problem: str) -> None:
    said = image_names.image_problem(image, name, image_names.ENGINES[name])
    assert problem in said
    assert bool(said) == bool(problem)
