# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of nccl-tests for the image: its own where they have MPI, or built of a commit, by the real git and make."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SPEC = importlib.util.spec_from_file_location("nccl_build", ROOT / "roles/nccl_tests/files/image/build.py")
assert SPEC
assert SPEC.loader
build: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(build)

#: as that of nccl-tests: a directory src, a list of programs that may be given, and MPI by a variable
MAKEFILE = """\
BUILDDIR ?= ../build
BIN_FILES_LIST := all_reduce broadcast
build:
\tmkdir -p $(BUILDDIR)
\tfor one in $(BIN_FILES_LIST); do \\
\t  echo "MPI=$(MPI) MPI_HOME=$(MPI_HOME) $(NVCC_GENCODE)" > $(BUILDDIR)/$${one}_perf; done
"""


def program(path: Path, text: str = "#!/bin/sh\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image with an MPI, and nothing else but this machine's own programs."""
    home = tmp_path / "mpi"
    program(home / "bin" / "mpirun")
    (home / "include").mkdir()
    (home / "include" / "mpi.h").touch()
    monkeypatch.setenv("PATH", f"{home}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    monkeypatch.setattr(build, "PLACES", (str(tmp_path / "own"),))
    return tmp_path


@pytest.fixture
def repository(image: Path) -> tuple[str, str]:
    """A repository with one commit, and the commit."""
    folder = image / "origin"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "Makefile").write_text(MAKEFILE)
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "one"]):
        subprocess.run([*git, *words], check=True)
    subprocess.run([*git, "config", "uploadpack.allowAnySHA1InWant", "true"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    return f"file://{folder}", head


def test_a_commit_is_built_with_mpi(image: Path, repository: tuple[str, str]) -> None:
    folder = image / "made"
    assert build.main(list(repository), folder) == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["origin", *(f"{one}_perf" for one in build.OPERATIONS)]
    )
    assert f"MPI=1 MPI_HOME={image}/mpi" in (folder / "sendrecv_perf").read_text()
    assert (folder / "origin").read_text() == f"built of {repository[0]}, commit {repository[1]}\n"


def test_it_is_built_for_the_spark_alone_where_the_compiler_knows_it(image: Path, repository: tuple[str, str]) -> None:
    program(image / "cuda" / "bin" / "nvcc", "#!/bin/sh\necho compute_120\necho compute_121\n")
    assert build.main(list(repository), image / "made") == 0
    assert "-gencode=arch=compute_121,code=sm_121" in (image / "made" / "all_gather_perf").read_text()


def test_a_commit_that_is_not_there_fails(
    image: Path, repository: tuple[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert build.main([repository[0], "0" * 40], image / "made") == 1
    assert "nccl-tests cannot be had: git fetch" in capfd.readouterr().err


def test_without_an_mpi_it_says_which_image_would_do(
    image: Path, repository: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (image / "mpi" / "include" / "mpi.h").unlink()
    monkeypatch.setattr(build.Path, "glob", lambda *_args: iter(()))
    assert build.main(list(repository), image / "made") == 1
    assert "give nccl_tests_base_image an image of NVIDIA's for developers" in capfd.readouterr().err


def test_the_image_s_own_programs_with_mpi_are_taken(image: Path) -> None:
    for operation in build.OPERATIONS:
        program(image / "own" / f"{operation}_perf_mpi")
    assert build.main(["nowhere", "0" * 40], image / "made") == 0
    assert (image / "made" / "all_reduce_perf").resolve() == image / "own" / "all_reduce_perf_mpi"
    assert (image / "made" / "origin").read_text() == f"the image's own, {image}/own\n"


def test_programs_without_mpi_are_not_taken_for_it(
    image: Path, repository: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would measure each Spark alone, and look as if they measured both."""
    for operation in build.OPERATIONS:
        program(image / "own" / f"{operation}_perf")
    assert build.own("all_reduce") == ""
    assert build.main(list(repository), image / "made") == 0
    assert "MPI=1" in (image / "made" / "all_reduce_perf").read_text()
    said = build.said
    linked = "\tlibmpi.so.40 => /usr/lib/libmpi.so.40\n"
    monkeypatch.setattr(build, "said", lambda argv, cwd=None: linked if argv[0] == "ldd" else said(argv, cwd))
    assert build.own("all_reduce") == str(image / "own" / "all_reduce_perf")
