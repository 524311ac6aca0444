# SIMULATED: stands in for vLLM in a virtual Spark; computes nothing.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vLLM's parser, which takes underscores for dashes."""

from __future__ import annotations

import argparse
from typing import Any


class FlexibleArgumentParser(argparse.ArgumentParser):
    """As the real class, which a program asks for the flags of its parser."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:  # type: ignore[override]
        """Read words whose flags have underscores for dashes, too."""
        words = []
        for word in args or []:
            name, equals, value = word.partition("=")
            words.append(f"{name.replace('_', '-')}{equals}{value}" if word.startswith("--") else word)
        return super().parse_known_args(words, namespace)
