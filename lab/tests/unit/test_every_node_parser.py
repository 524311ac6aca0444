# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parsers of the stand-ins for SGLang and vLLM: asked as an image is, they say what the real ones said."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import (
    image_parser,
    sglang_cli,
    sglang_image,
    vllm_cli,
    vllm_image,
)
from every_node_support import ENGINE, EVERY_NODE


@pytest.mark.parametrize(
    ("image", "table"), [(sglang_image.PARSER, sglang_cli), (vllm_image.PARSER, vllm_cli)], ids=["sglang", "vllm"]
)
def test_a_stand_in_says_the_flags_of_the_table(image: image_parser.ImageParser, table: Any) -> None:
    argv = [sys.executable, *image.program.command[1:]]
    environment = {"PYTHONPATH": f"{EVERY_NODE}:{ENGINE}"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    said = image.parsed(done.stdout.splitlines())
    assert (said["version"], image_parser.told(said["flags"])) == (table.VERSION, table.FLAGS)
