# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose engine an image has, as far as its name tells. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import re

#: the engines, by what spark_engine says; all but the first have that in the last part of their images' names
ENGINES = {"trtllm": "TensorRT-LLM", "vllm": "vLLM", "sglang": "SGLang"}


def engine_of(image: str) -> str:
    """Whose engine an image has, by the name of its repository; empty where that does not tell.

    >>> engine_of("nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5"), engine_of("eugr/spark-vllm:latest")
    ('TensorRT-LLM', 'vLLM')
    >>> engine_of("registry.example:5000/vllm/mine"), engine_of("lmsysorg/sglang@sha256:ab"), engine_of("")
    ('', 'SGLang', '')
    """
    repository = image.partition("@")[0].lower()
    if re.search(r"tensorrt[-_]llm", repository):
        return "TensorRT-LLM"
    name = repository.rpartition("/")[2].partition(":")[0]
    return next((engine for word, engine in ENGINES.items() if word in name), "")


def image_problem(image: str, name: str, title: str) -> str:
    """Why an image cannot serve with an engine, by its name, with the mend; empty where that does not tell.

    :param name: of the engine, as its role has it. :param title: of the engine.

    >>> image_problem("vllm/vllm-openai:v0.28.0", "vllm", "vLLM"), image_problem("mine:1", "vllm", "vLLM")
    ('', '')
    """
    other = engine_of(image)
    if other in ("", title):
        return ""
    word = next(word for word, engine in ENGINES.items() if engine == other)
    mend = f"set {name}_serve_base_image or spark_image, or spark_engine: {word}"
    return f"{image} is an image of {other}, and {title} is to serve: {mend}"
