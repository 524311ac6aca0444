# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image of vLLM says of its flags: the program that asks its parser, what comes of it, and what is kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import image_parser, vllm_image, vllm_options
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.image_facts import Limits
from fake_docker import Engine, listening

NAME, ID = "vllm/vllm-openai:v0.32.0", f"sha256:{'a1' * 32}"
PLENTY = "MemTotal: 125829120 kB\nMemAvailable: 104857600 kB\n"
#: SIMULATED: vLLM's parser, as far as this program looks: helpers of its types, and where its makers keep it
PARSER = """
import argparse
def human_readable_int_or_auto(value): return value
def optional_type(return_type):
    def _optional_type(value): return return_type(value)
    return _optional_type
class FlexibleArgumentParser(argparse.ArgumentParser): pass
def make_arg_parser(parser):
    parser.add_argument("model_tag", nargs="?")
    parser.add_argument("--max-model-len", type=human_readable_int_or_auto)
    parser.add_argument("--tensor-parallel-size", "-tp", type=int)
    parser.add_argument("--load-format", choices=["auto", "dummy"])
    parser.add_argument("--served-model-name", nargs="+", type=optional_type(str))
    parser.add_argument("--watermark", type=optional_type(float))
    parser.add_argument("--enable-prefix-caching", action=argparse.BooleanOptionalAction)
    parser.add_argument("--headless", action="store_true")
    return parser
"""


@pytest.fixture(params=["launchers", "openai"])
def package(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """SIMULATED: a package of that name, whose parser is where newer or older versions have it."""
    place = tmp_path / "vllm" / "entrypoints" / request.param
    for folder in (tmp_path / "vllm", place.parent, place, tmp_path / "vllm" / "utils"):
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").touch()
    (tmp_path / "vllm" / "__init__.py").write_text('__version__ = "0.32.0"\nprint("a line of its own")\n')
    (place / "cli_args.py").write_text(PARSER)
    (tmp_path / "vllm" / "utils" / "argparse_utils.py").write_text(
        f"from vllm.entrypoints.{request.param}.cli_args import FlexibleArgumentParser\n"
    )
    return tmp_path


def test_the_program_prints_what_the_parser_has(package: Path) -> None:
    argv = [sys.executable, "-c", vllm_image.PARSER.program.command[2]]
    done = subprocess.run(argv, env={"PYTHONPATH": str(package)}, capture_output=True, text=True, check=True)
    said = vllm_image.PARSER.parsed(done.stdout.splitlines())
    assert said["version"] == "0.32.0"
    flags = image_parser.told(said["flags"])
    assert flags is not None
    assert {name: flag.kind for name, flag in flags.items()} == {
        "max-model-len": "size",
        "tensor-parallel-size": "int",
        "load-format": "str",
        "served-model-name": "list",
        "watermark": "float",
        "enable-prefix-caching": "switch",
        "headless": "flag",
    }
    assert flags["tensor-parallel-size"].short == ("tp",)
    assert flags["max-model-len"].words == ("auto",)
    assert flags["load-format"].choices == ("auto", "dummy")


def test_by_the_images_own_word_an_unknown_name_is_refused_with_the_nearest() -> None:
    flags = image_parser.told({"max-model-len": {"kind": "size"}, "seed": {"kind": "int"}})
    found = list(vllm_options.PARSER.findings({"max_modellen": 5, "enforce_eager": True, "seed": "x"}, flags))
    assert [one.refused for one in found] == [True, True, True]
    assert found[0].text.endswith("as it says itself; did you mean max_model_len?")
    assert found[1].text == "enforce_eager is no flag of the image's vllm serve, as it says itself"


@pytest.mark.parametrize("said", [[], ["no line"], ["dgx-spark-flags: {"], ['dgx-spark-flags: {"version": 1}']])
def test_what_says_nothing_says_nothing(said: list[str]) -> None:
    assert vllm_image.PARSER.parsed(said) == {}
    assert image_parser.told(None) is None


@pytest.fixture
def place(tmp_path: Path) -> Iterator[SimpleNamespace]:
    engine, short = Engine(), Path(tempfile.mkdtemp())
    engine.answers["GET", f"/images/{NAME}/json"] = {"Id": ID, "Config": {"Env": []}}
    engine.answers["GET", "/images/json"] = []
    engine.answers["POST", "/containers/create"] = {"Id": "c1"}
    engine.answers["POST", "/containers/c1/wait"] = {"StatusCode": 0}
    actions = [{"names": ["--seed"], "action": "_StoreAction", "type": "int", "several": False, "choices": None}]
    line = f"INFO a line\n{image_parser.MARK}{json.dumps({'version': '0.32.0', 'flags': actions})}\n".encode()
    engine.answers["GET", "/containers/c1/logs"] = b"\1\0\0\0" + len(line).to_bytes(4, "big") + line
    (tmp_path / "vllm").mkdir()
    with listening(engine, short / "d") as socket:
        yield SimpleNamespace(engine=engine, docker=Docker(socket, 5), folder=tmp_path / "vllm")
    shutil.rmtree(short)


def look(place: SimpleNamespace, run: bool = False, meminfo: str = PLENTY) -> dict[str, Any]:
    return vllm_image.PARSER.look(place.docker, NAME, str(place.folder), run, Limits(5), meminfo)


def test_an_image_is_asked_once_and_what_it_says_is_kept(place: SimpleNamespace) -> None:
    assert look(place)["facts"]["flags"] is None, "no container is started by a plan"
    said = look(place, run=True)
    assert (said["facts"]["version"], said["facts"]["source"], said["noted"]) == ("0.32.0", "image", True)
    assert said["facts"]["flags"] == {"seed": {"kind": "int", "choices": [], "short": [], "words": []}}
    (file,) = said["note"]["files"]
    Path(file["path"]).write_text(file["content"])
    again = look(place)
    assert (again["facts"]["source"], again["noted"], again["note"]) == ("note", True, {})
    assert again["facts"]["flags"] == said["facts"]["flags"]


def test_without_memory_nothing_is_started_and_that_is_kept_too(place: SimpleNamespace) -> None:
    said = look(place, run=True, meminfo="MemTotal: 125829120 kB\nMemAvailable: 1048576 kB\n")
    assert said["facts"]["flags"] is None
    assert "only 1024 MiB of memory are available" in said["facts"]["no_flags_because"]


def test_a_parser_that_does_not_come_up_is_told_with_its_last_word(place: SimpleNamespace) -> None:
    place.engine.answers["POST", "/containers/c1/wait"] = {"StatusCode": 1}
    place.engine.answers["GET", "/containers/c1/logs"] = b"\2\0\0\0\0\0\0\7no GPU\n"
    said = look(place, run=True)["facts"]
    assert (said["flags"], said["no_flags_because"]) == (None, "it ended with status 1 and 'no GPU'")
