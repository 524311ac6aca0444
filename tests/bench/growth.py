# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one, two, four and eight virtual Sparks cost: a first run, a converged run, and the copy of a model to all.

Run by ``make bench-growth``, alone on the machine. All Sparks of a lab share this machine's processors and its disk, so
that the curve shows what a controller and a leader have to do for more Sparks, and not how fast real ones are.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.copy_model import CACHE, REPO, role, seed
from tests.e2e.conftest import ROOT, Pair, Run, stocked, taken_down

PLAYBOOKS = {1: "single_spark.yml", 2: "two_spark.yml"}


@dataclass
class Row:
    """Of a number of Sparks: seconds, and bytes that were served."""

    sparks: int
    first_s: float
    converged_s: float
    copy_s: float  #: the longest of all receivers
    leader_gb: float  #: that receivers took from the leader
    hub_gb: float  #: that all took from the hub


def timed(lab: Pair) -> tuple[float, Run]:
    """A run of the playbook for so many Sparks."""
    began = time.monotonic()
    run = lab.serve(PLAYBOOKS.get(len(lab.names), "serve.yml"))
    if run.status != "successful":
        sys.exit(run.said[-6000:])
    return time.monotonic() - began, run


def measure(sparks: int, size: str) -> Row:
    """Take the figures of so many, from blank ones on."""
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as scratch:
        cabling = "switch" if sparks > 2 else "auto"
        lab = stocked(Path(scratch) / "lab", virtual_spark_count=sparks, virtual_spark_cabling=cabling)
        try:
            first, _run = timed(lab)
            timed(lab)  # what only a second run does, such as reading what the first one noted, is no part of it
            converged, again = timed(lab)
            if again.changed:
                sys.exit(f"a run over what should be converged changed {again.changed}")
            copy, moved, served = copied(lab, size) if sparks > 1 else (0.0, 0.0, 0.0)
        finally:
            taken_down(lab)
    return Row(sparks, round(first, 1), round(converged, 1), round(copy, 1), round(moved, 2), round(served, 2))


def copied(lab: Pair, size: str) -> tuple[float, float, float]:
    """Bring a model to all: seconds of the slowest receiver, GB from the leader, and GB from the hub."""
    seed(lab, size, "8")
    before = lab.hub_bytes()
    role(lab, lab.names[:1])
    brought = role(lab, lab.names)
    for name in lab.names:
        lab.host(name).check_output(f"rm -rf {CACHE}/hub/models--{REPO.replace('/', '--')}")
    receivers = [brought[name] for name in lab.names[1:]]
    moved = sum(one["moved_bytes"] for one in receivers) / 1e9
    return max(one["seconds"] for one in receivers), moved, (lab.hub_bytes() - before) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sparks", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--size", default="1GiB", help="of the model that is copied (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench" / "growth.json")
    asked = parser.parse_args()
    print("| virtual Sparks | first run, s | converged run, s | copy, s | GB from the leader | GB from the hub |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = []
    for sparks in asked.sparks:
        rows.append(measure(sparks, asked.size))
        one = rows[-1]
        cells = (one.sparks, one.first_s, one.converged_s, one.copy_s, one.leader_gb, one.hub_gb)
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
