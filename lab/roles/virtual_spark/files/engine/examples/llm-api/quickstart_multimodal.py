# SIMULATED: stands in for NVIDIA's example program of the same name in a virtual Spark.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python3 quickstart_multimodal.py --model_dir MODEL --modality image --media FILE --prompt TEXT``."""

from __future__ import annotations

import argparse

from tensorrt_llm.simulation import model, quickstart

KINDS = ("llava_llama", "llava_next", "mistral3", "mllama", "phi4mm", "qwen2_5_vl", "qwen2_vl", "gemma3", "llama4")


def main() -> None:
    parser = quickstart.add_llm_args(argparse.ArgumentParser(description="SIMULATED: multimodal models."))
    parser.add_argument("--model_type", type=str, choices=KINDS)
    parser.add_argument("--modality", type=str, choices=["image", "video", "audio", "image_audio"], default="image")
    parser.add_argument("--media", type=str, nargs="+", required=True)
    parser.add_argument("--load_lora", default=False, action="store_true")
    parser.add_argument("--auto_model_name", type=str)
    asked = parser.parse_args()
    if asked.load_lora and asked.auto_model_name is None:
        raise AssertionError("Please provide the auto model name to load LoRA config.")
    folder = quickstart.load(asked.model_dir)
    kind = asked.model_type or model.config(folder).get("model_type")
    if kind not in KINDS:
        raise AssertionError(f"Unsupported model_type: {kind}")
    if asked.load_lora and not quickstart.has_lora(folder):
        raise FileNotFoundError(f"{folder / 'vision-lora'} is missing")
    sizes = [quickstart.picture(path) for path in asked.media]
    seen = " and ".join(f"a picture of {width} x {height} pixels" for width, height in sizes)
    quickstart.show(asked.prompt or ["Describe it."], f"It is {seen}: SIMULATED, nothing was seen.", asked.max_tokens)


if __name__ == "__main__":
    main()
