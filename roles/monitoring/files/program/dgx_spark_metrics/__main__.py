# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python3 -m dgx_spark_metrics DIRECTORY MEMINFO``: write ``spark.prom`` and ``engines.json`` there, again and again.

MEMINFO is the file that the supervisors read the host's memory from.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Callable, Iterable

from . import engines, fabric, gateways, gpu, rare
from .text import Metrics, replace

EVERY_S = 5.0  #: as often as Prometheus asks
RARELY_S = 60.0  #: what is dear to read, or changes seldom
TEXTFILE, TARGETS = "spark.prom", "engines.json"  #: what the node exporter reads; where Prometheus finds the engines

Collector = Callable[[Metrics], None]
FAST: dict[str, Collector] = {
    "engines": engines.collect,
    "memory": engines.available,
    "gpu": gpu.collect,
    "fabric": fabric.collect,
    "gateways": gateways.collect,
}
SLOW: dict[str, Collector] = {
    "images": rare.images,
    "xids": rare.xids,
    "certificates": rare.certificates,
}


def read(collectors: Iterable[tuple[str, Collector]]) -> Metrics:
    """What some collectors find. One that fails is told as such, and takes nothing from the others."""
    found = Metrics()
    for name, collect in collectors:
        own, worked = Metrics(), 1
        try:
            collect(own)
        except Exception as error:  # whatever it is, the others go on
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            own, worked = Metrics(), 0
        found.join(own)
        found.gauge(
            "dgx_spark_collector_success", "Whether a part of these figures could be read.", worked, collector=name
        )
    return found


def main(folder: str, pause: Callable[[float], None] = time.sleep, rounds: int = -1) -> int:
    """Write until the process is ended. :param rounds: how often, for tests; less than 0 for ever."""
    out, seldom, due = Path(folder), Metrics(), 0.0
    while rounds:
        rounds -= 1
        began = time.monotonic()
        if began >= due:
            seldom, due = read(SLOW.items()), began + RARELY_S
        found = read(FAST.items())
        found.join(seldom)
        found.gauge(
            "dgx_spark_metrics_timestamp_seconds", "When these figures were read, since the epoch.", time.time()
        )
        found.gauge("dgx_spark_metrics_duration_seconds", "How long that took.", time.monotonic() - began)
        replace(out / TEXTFILE, found.text())
        replace(out / TARGETS, engines.targets())
        pause(max(0.5, EVERY_S - (time.monotonic() - began)))
    return 0


if __name__ == "__main__":
    engines.MEMINFO = Path(sys.argv[2])
    sys.exit(main(sys.argv[1]))
