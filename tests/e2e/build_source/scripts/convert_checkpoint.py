# SIMULATED: stands in for convert_checkpoint.py of TensorRT-LLM: it reads the configuration of a model, and no weights.
"""Write the configuration of a checkpoint for some ranks."""

import argparse
import json
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("--model_dir", "--output_dir", "--dtype"):
    parser.add_argument(name, required=True)
parser.add_argument("--tp_size", type=int, default=1)
asked = parser.parse_args()
json.loads(Path(asked.model_dir, "config.json").read_text())
folder = Path(asked.output_dir)
folder.mkdir(parents=True, exist_ok=True)
(folder / "config.json").write_text(json.dumps({"mapping": {"tp_size": asked.tp_size}, "dtype": asked.dtype}))
