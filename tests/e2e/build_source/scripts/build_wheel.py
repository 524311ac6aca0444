# SIMULATED: stands in for scripts/build_wheel.py of TensorRT-LLM: half a second an object, unless ccache has that.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compile nothing, as slowly as was asked for, and tell how far that is as make does."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

OBJECTS, SECONDS = 200, 0.5


def main() -> None:
    """Make the libraries, each with the list of GPUs that it has code for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cuda_architectures", required=True)
    parser.add_argument("--job_count", type=int, required=True)
    asked = parser.parse_args()
    if not Path("3rdparty/cutlass/README").is_file():
        raise SystemExit("the submodule 3rdparty/cutlass is not there")
    if Path("cpp/cubins.bin").stat().st_size < 1000:
        raise SystemExit("cpp/cubins.bin is a pointer of git-lfs, and not the file")
    cache = Path(os.environ["CCACHE_DIR"])
    hits = 0
    for number in range(OBJECTS):
        kept = cache / f"{asked.cuda_architectures.replace(';', '_')}-{number}.o"
        if kept.is_file():
            hits += 1
        else:
            time.sleep(SECONDS)
            kept.write_text("an object\n", encoding="utf-8")
        print(f"[{100 * (number + 1) // OBJECTS:3d}%] Building CUDA object kernel{number}.cu.o", flush=True)
    libs = Path("build/libs")
    libs.mkdir(parents=True)
    codes = [one.split("-")[0] for one in asked.cuda_architectures.split(";")]
    listing = "".join(f"libtensorrt_llm.{place}.sm_{code}.cubin\n" for place, code in enumerate(codes, 1))
    (libs / "libtensorrt_llm.so").write_text(listing, encoding="utf-8")
    (libs / "libdeep_ep.so").write_text("libdeep_ep.1.sm_90a.cubin\n", encoding="utf-8")
    (libs / "ccache.txt").write_text(f"{hits} of {OBJECTS} objects were in ccache\n", encoding="utf-8")
    print(f"Successfully built tensorrt_llm, {hits} of {OBJECTS} objects were in ccache", flush=True)


if __name__ == "__main__":
    main()
