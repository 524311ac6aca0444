# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-in says, token by token, and what it counts."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Iterator, Sequence

from tensorrt_llm.simulation import solver

SPOILT = "-spoilt"  #: at the end of a nonce, by which a rank says that it spoils what it works on


def tokens(text: str) -> list[str]:
    """A token is a word with the blanks before it."""
    return re.findall(r"\s*\S+", text)


def answer(
    nonce: str, rank: int, size: int, host: str, prompt: str, pictures: Sequence[str] = (), way: str = "by MPI"
) -> str:
    """What is said: of an easy question the answer, the same each time; of all else which rank has worked on it."""
    found = "" if pictures else solver.solve(prompt)
    if found:
        found = solver.spoil(found) if nonce.endswith(SPOILT) else found
        return f"SIMULATED, no model has run: rules of a virtual Spark found the answer: {found}"
    seen = f" It showed {len(pictures)} of {', '.join(pictures)} pixels, decoded and not looked at." if pictures else ""
    return (
        "This was written by a virtual Spark: SIMULATED, no model has run. "
        f"Rank {rank} of {size}, on {host}, gave this request the nonce {nonce} {way}. "
        f"Your prompt had {len(tokens(prompt))} words.{seen}"
    )


def stream(text: str, most: int | None, least: int, endless: bool) -> Iterator[str]:
    """The tokens of an answer: never more than ``most``, and with ``ignore_eos`` exactly as many."""
    own = tokens(text)
    count = most if most is not None and (endless or most < len(own)) else max(len(own), least)
    return itertools.islice(itertools.chain(own, itertools.repeat(" SIMULATED")), count)


#: seconds, up to which a histogram counts
BOUNDS = (0.001, 0.01, 0.1, 1.0, 10.0)


@dataclass
class Statistics:
    """What /metrics, /perf_metrics and /prometheus/metrics tell."""

    max_batch_size: int
    iterations_kept: bool
    requests_kept: int
    drafted: int = 0  # tokens that are guessed at a time
    lock: threading.Lock = field(default_factory=threading.Lock)
    active: int = 0
    iteration: int = 0
    queued: int = 0
    iterations: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=1000))
    requests: deque[dict[str, Any]] = field(default_factory=deque)
    finished: dict[str, int] = field(default_factory=dict)
    made: int = 0  # tokens of all answers
    seconds: dict[str, list[float]] = field(default_factory=dict)  # sum, count, and how many were within each bound

    def __post_init__(self) -> None:
        self.requests = deque(maxlen=self.requests_kept)

    def iterated(self, latency: float) -> None:
        with self.lock:
            self.iteration += 1
            if self.iterations_kept:
                self.iterations.append(
                    {
                        "cpuMemUsage": 0,
                        "gpuMemUsage": 0,
                        "inflightBatchingStats": {"numContextRequests": 0, "numGenRequests": self.active},
                        "iter": self.iteration,
                        "iterLatencyMS": round(latency * 1000, 3),
                        "kvCacheStats": {"maxNumBlocks": 1024, "usedNumBlocks": self.active, "tokensPerBlock": 32},
                        "maxNumActiveRequests": self.max_batch_size,
                        "numActiveRequests": self.active,
                        "numQueuedRequests": self.queued,
                        "timestamp": time.strftime("%m-%d-%Y %H:%M:%S"),
                        **self._speculated(),
                    }
                )

    def _speculated(self) -> dict[str, Any]:
        """What is told of guesses, where there are some: all but the last one of each request were right."""
        if not self.drafted:
            return {}
        accepted = self.active * (self.drafted - 1)
        return {
            "specDecodingStats": {
                "numDraftTokens": self.active * self.drafted,
                "numAcceptedTokens": accepted,
                "numRequestsWithDraftTokens": self.active,
                "acceptanceLength": float(self.drafted),
            }
        }

    def ended(self, number: int, reason: str, times: dict[str, float], made: int) -> None:
        """One request: ``times`` holds arrival, scheduled, first and last, in seconds of a steady clock."""
        with self.lock:
            self.finished[reason] = self.finished.get(reason, 0) + 1
            self.made += made
            measured = {
                "e2e_request_latency_seconds": times["last"] - times["arrival"],
                "request_queue_time_seconds": times["scheduled"] - times["arrival"],
                "time_to_first_token_seconds": times["first"] - times["arrival"],
            }
            if made > 1:
                measured["time_per_output_token_seconds"] = (times["last"] - times["first"]) / (made - 1)
            for name, value in measured.items():
                total = self.seconds.setdefault(name, [0.0, 0, *(0 for _bound in BOUNDS)])
                total[0] += value
                total[1] += 1
                for place, bound in enumerate(BOUNDS, 2):
                    total[place] += value <= bound
            timing = {
                "server_arrival_time": times["arrival"],
                "arrival_time": times["arrival"],
                "first_scheduled_time": times["scheduled"],
                "first_token_time": times["first"],
                "server_first_token_time": times["first"],
                "last_token_time": times["last"],
            }
            self.requests.append({"request_id": number, "perf_metrics": {"first_iter": 0, "timing_metrics": timing}})

    def drain_iterations(self) -> list[dict[str, Any]]:
        with self.lock:
            drained = list(self.iterations)
            self.iterations.clear()
        return drained

    def drain_requests(self) -> list[dict[str, Any]]:
        with self.lock:
            drained = list(self.requests)
            self.requests.clear()
        return drained

    def prometheus(self) -> str:
        """In Prometheus' text format; of the histograms some bounds alone."""
        labels = 'engine_type="undefined",model_name="undefined"'
        name = "trtllm_request_success_total"
        lines = [f"# HELP {name} Count of successfully processed requests (SIMULATED).", f"# TYPE {name} counter"]
        with self.lock:
            for reason, count in sorted(self.finished.items()):
                lines.append(f'{name}{{{labels},finished_reason="{reason}"}} {count}.0')
            lines += ["# TYPE trtllm_generation_tokens_total counter"]
            lines += [f"trtllm_generation_tokens_total{{{labels}}} {self.made}.0"]
            for short, (total, count, *within) in sorted(self.seconds.items()):
                lines.append(f"# TYPE trtllm_{short} histogram")
                for bound, below in zip(BOUNDS, within):
                    lines.append(f'trtllm_{short}_bucket{{{labels},le="{bound}"}} {below}.0')
                lines.append(f'trtllm_{short}_bucket{{{labels},le="+Inf"}} {count}.0')
                lines.append(f"trtllm_{short}_count{{{labels}}} {count}.0")
                lines.append(f"trtllm_{short}_sum{{{labels}}} {total}")
        return "\n".join(lines) + "\n"
