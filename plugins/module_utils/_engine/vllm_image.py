# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an image of vLLM is asked which flags it takes: by the parser of its ``vllm serve``.

This module util is private to the collection.
"""

from __future__ import annotations

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.image_parser import ImageParser

#: where vLLM keeps its parser has changed, and the newest place comes first
MAKE = """
import importlib
def first(name, *modules):
    for module in modules:
        try:
            return getattr(importlib.import_module(module), name)
        except (AttributeError, ImportError):
            continue
    raise SystemExit("this vLLM has no " + name)
make = first("make_arg_parser", "vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")
kind = first("FlexibleArgumentParser", "vllm.utils.argparse_utils", "vllm.utils")
parser = make(kind())
version = importlib.import_module("vllm").__version__
"""
PARSER = ImageParser(
    "vllm",
    MAKE,
    ("DO_NOT_TRACK=1", "HF_HUB_OFFLINE=1", "NVIDIA_VISIBLE_DEVICES=void", "VLLM_NO_USAGE_STATS=1"),
    {
        "int": "int",
        "float": "float",
        "human_readable_int": "size",
        "human_readable_int_or_auto": "size",
        "loads": "json",
        "parse_dataclass": "json",
        "union_dict_and_str": "json",
    },
    automatic=("human_readable_int_or_auto",),
)
