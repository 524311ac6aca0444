# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines by trtllm-build, of images that still have it: what is refused, and which commands make them.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

#: of the container that converts and builds; one name, so that nothing piles up where a run was killed
NAME = "dgx-spark-engine-build"
MODEL, OUT = "/model", "/out"  # in the container
CHECKPOINT, ENGINE = "checkpoint", "engine"  # below the output

#: flags that guides give to trtllm-build, and what has become of them
DEAD = {
    "tp_size": "the checkpoint has it: set image_build_engine_ranks",
    "use_fp8": "no version has that: the checkpoint says how it is quantised",
    "use_fp4": "no version has that: take a checkpoint in NVFP4",
    "max_output_len": "it went: give --max_seq_len, which is prompt and answer together",
    "enable_chunked_context": "no version has that: trtllm-serve decides how prompts are cut",
    "checkpoint_dir": "the role sets it",
    "output_dir": "the role sets it: image_build_engine_out",
}


class EngineError(ValueError):
    """Engines cannot be built. The message names the cause and the mend."""


@dataclass(frozen=True)
class Wanted:
    """What is built of what."""

    image: str
    model: str  # a directory of the host with a Hugging Face checkpoint
    out: str  # a directory of the host
    convert: str  # the program of the image that converts such a model
    ranks: int = 1
    dtype: str = "bfloat16"
    convert_arguments: Sequence[str] = ()
    arguments: Sequence[str] = ()


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse what no trtllm-build takes.

    >>> check_arguments(["--max_seq_len", "4096"])
    """
    for one in arguments:
        name = one.partition("=")[0].lstrip("-")
        if one.startswith("-") and name in DEAD:
            raise EngineError(f"trtllm-build has no --{name}: {DEAD[name]}")


def run_argv(wanted: Wanted, command: Sequence[str]) -> list[str]:
    """The arguments of docker that run one command, by a bash, since the image tells nobody else where its libraries are."""
    return [
        *("docker", "run", "--rm", "--pull=never", f"--name={NAME}", f"--label=dgx-spark={NAME}"),
        *("--network=none", "--runtime=nvidia", "--env=NVIDIA_VISIBLE_DEVICES=all", "--ulimit=memlock=-1"),
        f"--mount=type=bind,source={wanted.model},target={MODEL},readonly",
        f"--mount=type=bind,source={wanted.out},target={OUT}",
        *("--entrypoint=bash", wanted.image, "-c", 'exec "$@"', "--", *command),
    ]


def request(wanted: Wanted) -> dict[str, Any]:
    """What the program that runs a long build is told: a checkpoint for every rank, and an engine of each."""
    check_arguments(wanted.arguments)
    convert = [
        *("python3", wanted.convert, "--model_dir", MODEL, "--output_dir", f"{OUT}/{CHECKPOINT}"),
        *("--tp_size", str(wanted.ranks), "--dtype", wanted.dtype, *wanted.convert_arguments),
    ]
    build = [
        *("trtllm-build", "--checkpoint_dir", f"{OUT}/{CHECKPOINT}", "--output_dir", f"{OUT}/{ENGINE}"),
        *wanted.arguments,
    ]
    before = [["docker", "rm", "--force", NAME]]  # of a run that was killed
    told = json.dumps([wanted.image, wanted.model, wanted.out, convert, build])
    return {
        "id": hashlib.sha256(told.encode()).hexdigest()[:16],
        "what": f"engines of {wanted.model} for {wanted.ranks} rank{'s' if wanted.ranks > 1 else ''}",
        "stages": [
            {"name": "convert", "title": "Convert the checkpoint", "argv": run_argv(wanted, convert), "before": before},
            {"name": "engines", "title": "Build the engines", "argv": run_argv(wanted, build), "before": before},
        ],
    }


def lacking(out: str, ranks: int) -> list[str]:
    """The files of the engines that are not there: one for each rank, and their configuration."""
    names = ["config.json", *(f"rank{rank}.engine" for rank in range(ranks))]
    return [name for name in names if not Path(out, ENGINE, name).is_file()]
