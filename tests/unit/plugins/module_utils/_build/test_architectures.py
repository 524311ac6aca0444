# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For which GPUs libraries have code: what the real cuobjdump 13.5 lists, and what of that runs on a GB10."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import architectures
from hypothesis import given
from hypothesis import strategies as st

LISTS = Path(__file__).parents[3] / "fixtures" / "cuobjdump" / "lists.txt"


def test_the_lists_of_the_real_program_are_read() -> None:
    """Of libraries for 90a and 120f, for 121a, 120 and PTX of 120, and for 121f."""
    found = architectures.listed(LISTS.read_text().splitlines())
    assert found == ["sm_120.cubin", "sm_120.ptx", "sm_121.cubin", "sm_121a.cubin", "sm_90a.cubin"]


def test_the_script_counts_what_cuobjdump_lists(tmp_path: Path) -> None:
    """By bash, as the container runs it, with the real program's words."""
    libs = tmp_path / "package" / "libs"
    libs.mkdir(parents=True)
    for name in ("libtensorrt_llm.so", "plain.so"):
        (libs / name).touch()
    program = tmp_path / "cuobjdump"
    program.write_text(
        f"#!/bin/bash\nkind=ELF; [ $1 = --list-ptx ] && kind=PTX\n"
        f"case $2 in *plain*) echo 'cuobjdump info : no device code' >&2; exit 255;; esac\ngrep ^$kind {LISTS}\n"
    )
    program.chmod(0o755)
    argv = ["/bin/bash", "-c", architectures.SCRIPT, str(tmp_path / "package")]
    there = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    lines = subprocess.run(argv, capture_output=True, text=True, check=True, env=there).stdout.splitlines()
    assert architectures.counted(lines) == {
        "libtensorrt_llm.so": ["sm_120.cubin", "sm_120.ptx", "sm_121.cubin", "sm_121a.cubin", "sm_90a.cubin"],
        "plain.so": [],
    }
    lines = subprocess.run(argv, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}).stdout
    assert architectures.counted(lines.splitlines()) is None, "an image without cuobjdump"


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({"libtensorrt_llm.so": ["sm_120.cubin"]}, ""),
        ({"libtensorrt_llm.so": ["sm_121a.cubin"]}, ""),
        ({"libtensorrt_llm.so": ["sm_90.ptx"]}, ""),
        ({"libtensorrt_llm.so": ["sm_120a.cubin"]}, "none that runs on sm_121"),
        ({"libtensorrt_llm.so": ["sm_100.cubin"], "b.so": ["sm_120.cubin"]}, "has code for sm_100, and none"),
        ({"libtensorrt_llm.so": [], "b.so": ["sm_120.cubin"]}, ""),
        ({"libtensorrt_llm.so": [], "b.so": ["sm_90a.cubin"]}, "no library has code that runs here"),
        ({"libtensorrt_llm.so": []}, "none of its libraries has code"),
        ({}, "none of its libraries has code"),
    ],
)
def test_what_cannot_serve_on_a_gb10(found: dict[str, list[str]], problem: str) -> None:
    said = architectures.problem(found)
    assert problem in said
    assert bool(problem) == bool(said)


@pytest.mark.parametrize("wanted", ["", "120", "120a-real", "120-virtual", "90-real", "120-real;", "120-real 90-real", "native"])
def test_architectures_that_make_no_sense_are_refused(wanted: str) -> None:
    assert architectures.asked_problem(wanted)


def test_121_alone_is_warned_of() -> None:
    assert not architectures.asked_problem("121-real")
    assert "EXCLUDE_SM_120" in architectures.asked_warning("121-real")
    assert not architectures.asked_warning("90-real;120-real")


@given(st.lists(st.text(max_size=40)))
def test_no_output_stops_the_reading(lines: list[str]) -> None:
    found = architectures.counted([*lines, "end"])
    assert found is not None
    architectures.problem(found)
    architectures.listed(lines)


@given(st.integers(50, 199), st.sampled_from(["", "a", "f"]), st.sampled_from(["cubin", "ptx"]))
def test_what_runs(number: int, suffix: str, form: str) -> None:
    runs = architectures.runs_on(f"{number}{suffix}", form)
    assert architectures.runs_on(f"{number}{suffix}", form, number), "code runs on what it was made for"
    if runs:
        assert number <= architectures.GB10
        assert suffix != "a" or number == architectures.GB10
        assert number // 10 == 12 or (form == "ptx" and not suffix)
