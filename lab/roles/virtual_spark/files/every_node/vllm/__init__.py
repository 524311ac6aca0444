# SIMULATED: stands in for vLLM in a virtual Spark; computes nothing.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of the package itself: its version."""

from every_node import parser as _parser

__version__ = _parser.facts("vllm")["version"]
