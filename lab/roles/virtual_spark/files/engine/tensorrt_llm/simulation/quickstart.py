# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NVIDIA's two example programs have in common: arguments of theirs, a load of one rank, and their output."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tensorrt_llm.simulation import faults, log, model, pictures
from tensorrt_llm.simulation.node import Alone, Node


def add_llm_args(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Of the real program's arguments those that are commonly used."""
    parser.add_argument("--model_dir", type=str, required=True)
    parser.add_argument("--prompt", type=str, nargs="+")
    parser.add_argument("--max_tokens", type=int, default=64)
    parser.add_argument("--max_batch_size", type=int)
    parser.add_argument("--max_seq_len", type=int)
    parser.add_argument("--max_num_tokens", type=int, default=8192)
    parser.add_argument("--kv_cache_fraction", type=float, default=0.9)
    parser.add_argument("--kv_cache_dtype", type=str, default="auto")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--tp_size", type=int, default=1)
    parser.add_argument("--trust_remote_code", default=False, action="store_true")
    return parser


def load(model_dir: str) -> Path:
    """Look at all files of a model, and load it on this one rank. :raises RuntimeError: where it cannot be."""
    log.say("SIMULATED: a virtual Spark's stand-in for NVIDIA's example program")
    seconds = float(os.environ.get("VIRTUAL_SPARK_ENGINE_LOAD_SECONDS", "2"))
    report = Node(Alone()).load({"model": model_dir, "tp": 1, "seconds": seconds})[0]
    if report["error"]:
        raise RuntimeError(f"Executor worker died during initialization: {report['error']}")
    return Path(report["path"])


def show(prompts: list[str], said: str, most: int) -> None:
    """Print a text for each prompt; none, where that fault was asked for."""
    text = "" if faults.active(faults.NO_TEXT) else " ".join(said.split()[:most])
    for index, prompt in enumerate(prompts):
        print(f"[{index}] Prompt: {prompt!r}, Generated text: {text!r}", flush=True)


def picture(path: str) -> tuple[int, int]:
    """Width and height of a picture, which has to be there: this program downloads nothing."""
    return pictures.read(Path(path).read_bytes())


def has_lora(folder: Path) -> bool:
    """Whether a model has the LoRA that it sees by."""
    return model.config(folder).get("model_type") in ("phi4mm", "phi4_multimodal") or any(folder.glob("*lora*"))
