# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an image of SGLang is asked which flags it takes: by the parser of its ``launch_server``.

This module util is private to the collection.
"""

from __future__ import annotations

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.image_parser import ImageParser
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.sglang_cli import FLAGS

MAKE = """
import argparse, importlib
parser = argparse.ArgumentParser(prog="sglang serve")
importlib.import_module("sglang.srt.server_args").ServerArgs.add_cli_args(parser)
version = importlib.import_module("sglang").__version__
"""
PARSER = ImageParser(
    "sglang",
    MAKE,
    ("CUDA_VISIBLE_DEVICES=", "DO_NOT_TRACK=1", "HF_HUB_OFFLINE=1", "NVIDIA_VISIBLE_DEVICES=void"),
    {
        "int": "int",
        "float": "float",
        "human_readable_int": "si",
        "json_list_type": "json",
        "loads": "json",
        "parse_cuda_graph_config_arg": "json",
    },
    # Its parser would take one for the beginning of a name, and the other for that of three.
    beside={"tp-size": ("tp",), "pp-size": ("pp",)},
    known=FLAGS,
)
