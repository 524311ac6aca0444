# SIMULATED: stands in for vLLM in a virtual Spark; computes nothing.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flags of ``vllm serve``."""

from __future__ import annotations

import argparse

from every_node import parser


def make_arg_parser(of: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the flags to a parser."""
    of.add_argument("model_tag", nargs="?")
    parser.add(of, "vllm")
    return of
