# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's example programs for TensorRT-LLM: how they are called, and what they say. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

import ast
import re
from typing import Sequence

TEXT, VISION, LORA = "text", "vision", "lora"
ADVANCED, MULTIMODAL = "examples/llm-api/quickstart_advanced.py", "examples/llm-api/quickstart_multimodal.py"
PICTURE = "picture.png"
#: of the memory that the weights leave; the programs take nearly all of it otherwise, and the system needs some
KV_FRACTION = "0.2"
PROMPTS = {
    TEXT: "Paris is great because",
    VISION: "What do you see in this picture?",
    LORA: "What do you see in this picture?",
}
_SAID = re.compile(r"^\[\d+\](?:\[\d+\])? Prompt: .*?, Generated text: (?P<text>(?:u|b)?(['\"]).*\2)\s*$")


def command(kind: str, folder: str, tokens: int, more: Sequence[str] = ()) -> list[str]:
    """The command line of an example.

    :param kind: TEXT, VISION, or LORA for Phi-4-multimodal. :param folder: where the picture is.
    :param more: further arguments, of the model.
    """
    program = ADVANCED if kind == TEXT else MULTIMODAL
    argv = ["python3", program, "--model_dir", "{model}", "--prompt", PROMPTS[kind], "--max_tokens", str(tokens)]
    argv += ["--kv_cache_fraction", KV_FRACTION]
    if kind != TEXT:
        argv += ["--modality", "image", "--media", f"{folder}/{PICTURE}"]
    if kind == LORA:
        argv += ["--model_type", "phi4mm", "--load_lora", "--auto_model_name", "Phi4MMForCausalLM"]
    return [*argv, *more]


def generated(lines: Sequence[str]) -> list[str]:
    """The texts that an example says the model has generated.

    >>> generated(["[TRT-LLM] [I] ready", "[0] Prompt: 'Paris is', Generated text: ' a city.\\\\nIt'"])
    [' a city.\\nIt']
    >>> generated(["[0] Prompt: 'x', Generated text: ''"]), generated(["Generated text: None"])
    ([''], [])
    """
    found = []
    for line in lines:
        said = _SAID.match(line.strip())
        if said:
            try:
                found.append(str(ast.literal_eval(said["text"])))
            except (SyntaxError, ValueError):
                found.append(said["text"][1:-1])
    return found


def version_in(lines: Sequence[str], mark: str) -> str:
    """The version that a program printed behind a mark of ours, empty where it printed none.

    >>> version_in(["[TensorRT-LLM] TensorRT LLM version: 1.3.0rc13", "dgx-spark: 1.3.0rc13"], "dgx-spark: ")
    '1.3.0rc13'
    """
    return next((line.strip()[len(mark) :].strip() for line in lines if line.strip().startswith(mark)), "")


def same_version(planned: str, found: str) -> bool:
    """Whether an image is what the plan takes it to be, as far as the plan knows that.

    What is built from the same release may say more behind a plus sign.

    >>> same_version("1.3.0rc13", "1.3.0rc13"), same_version("", "1.2.1"), same_version("1.3.0rc1", "1.3.0rc13")
    (True, True, False)
    >>> same_version("1.2.0", "1.2.0+abc")
    True
    """
    return not planned or found.split("+")[0] == planned.split("+")[0]
