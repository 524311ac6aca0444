# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of benchmarks, as benchmark_plan and benchmark_run make them, of requests with chosen times."""

from __future__ import annotations

import random
from typing import Any, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import (
    aiperf,
    cells,
    document,
    figures,
    judge,
    provenance,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.export import Export, Request
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status.document import document as status_of
from status_cases import NOW, pair

QUICK = cells.Cell(128, 16, 0, 1, 0, 10, 1)


def request(ttft_ms: float, gap_ms: float, cell: cells.Cell, began_ms: float = 0, **change: Any) -> Request:
    """One that was answered in full."""
    latency = ttft_ms + gap_ms * (cell.output - 1)
    began = round(1e15 + began_ms * 1e6)
    made = Request(
        began_ns=began,
        ended_ns=began + round(latency * 1e6),
        ttft_ms=ttft_ms,
        latency_ms=latency,
        gaps_ms=(gap_ms,) * (cell.output - 1),
        input_tokens=cell.input,
        output_tokens=cell.output,
        error="",
    )
    return made._replace(**change)


def export(cell: cells.Cell, chance: random.Random, slower: float, noise: float) -> Export:
    """A run of requests, one behind the other as many at once as the cell says, with noise as a share."""
    made, began = [], 0.0
    for number in range(cell.requests):
        by = slower * (1 + chance.uniform(-noise, noise))
        one = request(200 * by, 10 * by, cell, began)
        made.append(one)
        if number % cell.concurrency == cell.concurrency - 1:
            began += one.latency_ms or 0
    return Export(made, [], "", aiperf.VERSION)


def result(
    some: Sequence[cells.Cell] = (QUICK,),
    runs: int = 3,
    slower: float = 1.0,
    noise: float = 0.01,
    seed: int = 1,
    **head: Any,
) -> dict[str, Any]:
    """A whole result. :param slower: than 200 ms to a token and 10 ms between tokens, as a factor."""
    chance = random.Random(seed)
    members = pair()
    status = status_of(members, NOW)
    sparks = {name: {"ansible_virtualization_role": "NA"} for name in members}
    instance = status["instances"][0]
    before = provenance.state(status)
    found = document.begun(
        {
            "at": NOW,
            "runs": runs,
            "seed": seed,
            "name": "a",
            "label": "",
            "profile": "quick",
            "slo": {},
            "virtual": False,
            "client": {"name": aiperf.NAME, "version": aiperf.VERSION},
            "model": instance["model"],
            "endpoint": f"{instance['endpoint']} on {instance['leader']}",
            "serving": provenance.serving(instance, {}),
            "cluster": provenance.cluster(status, {}, sparks),
            "before": before,
            "after": before,
            "meanwhile": [],
            **head,
        },
        list(some),
    )
    for job in cells.jobs(list(some), runs, seed):
        told = export(job.cell, chance, slower, noise)
        good, problems = judge.of_run(told, job.cell, 0)
        run = {
            "run": job.run,
            "seed": job.seed,
            "at": NOW,
            "took_s": 12.0,
            "good": not problems,
            "problems": problems,
            "requests": len(told.requests),
            "good_requests": len(good),
            "figures": figures.of_run(good, figures.Slo()) if not problems else None,
            "client": aiperf.VERSION,
        }
        found = document.with_run(found, job.cell.key, run, runs)
    return found
