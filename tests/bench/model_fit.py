# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A table of what a model keeps of a sequence, by this collection's formulas and by kvfit's, which others wrote.

kvfit goes into an environment of its own, which needs nothing else, and the table into docs/models_fit.md:

    python3 -m venv DIRECTORY && DIRECTORY/bin/pip install kvfit==0.3.0
    PYTHONPATH=playbooks/collections DIRECTORY/bin/python -m tests.bench.model_fit
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import architecture, fit
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.architecture import ArchitectureError

CONFIGS = Path(__file__).parents[1] / "unit" / "fixtures" / "architectures"
ASKED = ((8192, 1), (131072, 1), (131072, 2))  # tokens of a sequence, ways of tensor parallelism


def ours(config: dict[str, Any], tokens: int, tp: int) -> int | str:
    """Bytes that a rank keeps of one sequence with a KV cache of 16 bits, its state included."""
    try:
        architecture.read(config)
    except ArchitectureError:
        return "not known"
    share = fit.demand(config, [], 0, fit.Setting(tp=tp)).share
    return fit.kv_bytes(share, "bfloat16", tokens) + fit.state_bytes(share, "auto")


def kvfits(config: dict[str, Any], tokens: int, tp: int) -> int | str:
    """The same by kvfit, which divides each part by the units that it has."""
    kvfit = importlib.import_module("kvfit.architectures")  # which the tests do without
    try:
        found = kvfit.estimate_cache(config, context_tokens=tokens, kv_bytes=2)
    except kvfit.UnsupportedArchitecture:
        return "not known"
    return int(sum(one.bytes / min(tp, one.tp_parallel_units or found.kv_parallel_heads) for one in found.components))


def told(value: int | str) -> str:
    """In MiB, as far as it is a number."""
    return value if isinstance(value, str) else f"{value / 2**20:.1f}"


def main() -> None:
    """Print the rows of the table."""
    for path in sorted(CONFIGS.glob("*.json")):
        config = json.loads(path.read_text(encoding="utf-8"))
        pairs = [(told(ours(config, *asked)), told(kvfits(config, *asked))) for asked in ASKED]
        print("|", " | ".join([path.stem, *(one for pair in pairs for one in pair)]), "|")


if __name__ == "__main__":
    main()
