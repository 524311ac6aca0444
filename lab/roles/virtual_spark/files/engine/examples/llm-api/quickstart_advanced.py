# SIMULATED: stands in for NVIDIA's example program of the same name in a virtual Spark.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python3 quickstart_advanced.py --model_dir MODEL --prompt TEXT``."""

from __future__ import annotations

import argparse

from tensorrt_llm.simulation import quickstart


def main() -> None:
    parser = argparse.ArgumentParser(description="SIMULATED: LLM models with the PyTorch workflow.")
    asked = quickstart.add_llm_args(parser).parse_args()
    quickstart.load(asked.model_dir)
    prompts = asked.prompt or ["Hello, my name is"]
    quickstart.show(prompts, "a virtual Spark says so: SIMULATED, no model has run.", asked.max_tokens)


if __name__ == "__main__":
    main()
