# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the programs of nccl-tests where the leader starts them: the image's own, or built of a commit.

``build.py REPOSITORY COMMIT``. Only programs that were built with MPI will do: without it each Spark is measured alone,
and a run over several Sparks looks like one, and is not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path("/opt/dgx-spark/nccl-tests")
#: those that the role lets people choose from
OPERATIONS = ("all_reduce", "all_gather", "reduce_scatter", "alltoall", "sendrecv")
#: a directory that images of NVIDIA's have them in, beside those of PATH
PLACES = ("/opt/nccl-tests/build", "/opt/nccl_tests/build", "/usr/local/nccl-tests/build")
SPARK = "compute_121"


class BuildError(Exception):
    """Why there are no programs, with the mend."""


def said(argv: list[str], cwd: Path | None = None) -> str:
    """What a program prints; empty where it fails or is not there."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=cwd).stdout
    except OSError:
        return ""


def own(operation: str) -> str:
    """The image's own program of an operation, built with MPI; empty where it has none."""
    places = os.pathsep.join([os.environ.get("PATH", ""), *PLACES])
    named = shutil.which(f"{operation}_perf_mpi", path=places)
    if named:  # whoever builds both kinds calls them so
        return named
    plain = shutil.which(f"{operation}_perf", path=places)
    return plain if plain and "libmpi" in said(["ldd", plain]) else ""


def mpi_home() -> str:
    """The directory of the MPI whose mpirun starts the ranks, with its headers. :raises BuildError: where none has."""
    found = shutil.which("mpirun")
    homes = [str(Path(found).resolve().parents[1])] if found else []
    homes += [str(path) for path in sorted(Path("/usr/lib").glob("*-linux-gnu/openmpi"))]
    for home in homes:
        if (Path(home) / "include" / "mpi.h").is_file():
            return home
    raise BuildError(
        f"no MPI with headers is in this image ({', '.join(homes) or 'no mpirun'}): give nccl_tests_base_image an "
        "image of NVIDIA's for developers, such as TensorRT-LLM's"
    )


def options() -> list[str]:
    """The settings of make: MPI, where it is, and this chip alone where the compiler knows it."""
    cuda = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    nvcc = f"{cuda}/bin/nvcc" if Path(f"{cuda}/bin/nvcc").exists() else "nvcc"
    chips = said([nvcc, "--list-gpu-arch"]).split()
    chip = [f"NVCC_GENCODE=-gencode=arch={SPARK},code=sm_{SPARK.rpartition('_')[2]}"] if SPARK in chips else []
    return ["MPI=1", f"MPI_HOME={mpi_home()}", f"CUDA_HOME={cuda}", *chip]


def run(argv: list[str], cwd: Path) -> None:
    """Run a step of a build. :raises BuildError: when it fails."""
    try:
        done = subprocess.run(argv, cwd=cwd, check=False)
    except OSError as error:
        raise BuildError(f"there is no {argv[0]} in this image: give nccl_tests_base_image another") from error
    if done.returncode:
        raise BuildError(f"{' '.join(argv)} ends with {done.returncode}")


def build(repository: str, commit: str, source: Path) -> Path:
    """Fetch one commit, which git verifies, and build it. Returns the directory of the programs."""
    run(["git", "init", "--quiet", "."], source)
    run(["git", "fetch", "--quiet", "--depth", "1", repository, commit], source)
    run(["git", "checkout", "--quiet", "FETCH_HEAD"], source)
    head = said(["git", "rev-parse", "HEAD"], source).strip()
    if head != commit:
        raise BuildError(f"{repository} gave {head}, and {commit} was asked for")
    wanted = f"BIN_FILES_LIST={' '.join(OPERATIONS)}"
    run(["make", "--directory", "src", f"--jobs={os.cpu_count() or 1}", "build", wanted, *options()], source)
    return source / "build"


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    """Fill the directory. Returns the exit status."""
    repository, commit = arguments
    folder.mkdir(parents=True, exist_ok=True)
    found = {operation: own(operation) for operation in OPERATIONS}
    try:
        if all(found.values()):
            for operation, path in found.items():
                (folder / f"{operation}_perf").symlink_to(path)
            origin = f"the image's own, {Path(found['all_reduce']).parent}"
        else:
            with tempfile.TemporaryDirectory() as scratch:
                built = build(repository, commit, Path(scratch))
                for operation in OPERATIONS:
                    shutil.copy2(built / f"{operation}_perf", folder)
            origin = f"built of {repository}, commit {commit}"
    except (BuildError, OSError) as error:
        print(f"nccl-tests cannot be had: {error}", file=sys.stderr)
        return 1
    (folder / "origin").write_text(f"{origin}\n")
    print(f"nccl-tests: {origin}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
