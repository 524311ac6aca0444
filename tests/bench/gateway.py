# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API gateway costs in time, and how many streams it holds, on a virtual Spark: make bench-gateway.

docs/performance.md says how the figures come about.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from tests.e2e.conftest import ROOT, stocked, taken_down
from tests.e2e.gateway_pace import DIRECT, GATEWAY, Pace, both_ways, held, written
from tests.e2e.test_gateway import GATEWAY as OPTIONS
from tests.e2e.test_gateway import PLAY, Client, slow

OUT = ROOT / "build" / "bench" / "gateway.json"
#: so many requests that the engine works on at the same time
MANY = {"trtllm_serve_arguments": {"max_batch_size": 256, "max_num_tokens": 8192}}


def row(what: str, without: tuple[float, float], through: tuple[float, float]) -> str:
    """A line of the table: the medians, the 95th of 100 behind them, and what the gateway adds to the median."""
    one, other = (f"{median:.2f} ({high:.2f})" for median, high in (without, through))
    return f"| {what} | {one} | {other} | {through[0] - without[0]:+.2f} |"


def table(paces: dict[str, Pace]) -> list[str]:
    """What docs/performance.md has of the two ways."""
    without, through = paces[DIRECT], paces[GATEWAY]
    return [
        "| ms, median (95th of 100) | without | through the gateway | median more |",
        "| --- | --- | --- | --- |",
        row("time to the first token", without.first, through.first),
        row("time between tokens, mean of an answer", without.between, through.between),
        row("longest time between two tokens of an answer", without.longest, through.longest),
    ]


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200, help="that go each way (%(default)s)")
    parser.add_argument("--streams", type=int, default=200, help="that are held at the same time (%(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="of each of these, of a second each (%(default)s)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        lab = stocked(Path(scratch) / "gateway", virtual_spark_count=1)
        try:
            lab.variables["api_gateway_keys_dir"] = str(lab.scratch / "keys")
            run = lab.serve(PLAY, **OPTIONS, **MANY)
            assert run.status == "successful", run.said
            client = Client(lab, Path(lab.variables["api_gateway_keys_dir"]))
            authority = (client.keys / client.folder / "ca.crt").read_text()
            with slow(lab, 0.03):
                paces = both_ways(lab, client.key(), authority, asked.requests)
            with slow(lab, 1):
                many = held(lab, client.address, client.port, client.trust, client.key(), asked.streams, asked.tokens)
        finally:
            taken_down(lab)
    written(OUT, {**paces, "held": many})
    print("\n".join(table(paces)))
    print(f"\nof {asked.streams} streams: {json.dumps(many.__dict__)}")
    print(f"\nall of it is in {OUT}")


if __name__ == "__main__":
    main()
