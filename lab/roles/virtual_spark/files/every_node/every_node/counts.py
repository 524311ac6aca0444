# SIMULATED: part of a virtual Spark's stand-in for SGLang and for vLLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server counts, in Prometheus' text format."""

from __future__ import annotations

from typing import Mapping

from tensorrt_llm.simulation import answers


class Counts(answers.Statistics):
    """What both engines count.

    :param batch: sequences at a time. :param model: its name. :param tokens: that fit into the KV cache.
    """

    def __init__(self, batch: int, model: str, tokens: int) -> None:
        super().__init__(batch, False, 0)
        self.model, self.tokens, self.steps, self.prompts = model, tokens, 0, 0

    def iterated(self, latency: float) -> None:
        """A token was made."""
        super().iterated(latency)
        with self.lock:
            self.steps += 1

    @staticmethod
    def lines(kind: str, values: Mapping[str, float]) -> list[str]:
        """Metrics of one kind. :param values: by name and labels."""
        found, typed = [], ""
        for name, value in values.items():
            plain = name.partition("{")[0]
            found += [] if plain == typed else [f"# TYPE {plain} {kind}"]
            found.append(f"{name} {float(value)}")
            typed = plain
        return found

    def histograms(self, names: Mapping[str, str], labels: str) -> list[str]:
        """Seconds, of which some bounds alone. :param names: of metrics, by those of what was measured."""
        found = []
        for short, (total, count, *within) in sorted(self.seconds.items()):
            if name := names.get(short):
                bounds = [*zip(map(str, answers.BOUNDS), within), ("+Inf", count)]
                found += [f"# TYPE {name} histogram"]
                found += [f'{name}_bucket{{{labels},le="{bound}"}} {below}.0' for bound, below in bounds]
                found += [f"{name}_count{{{labels}}} {count}.0", f"{name}_sum{{{labels}}} {total}"]
        return found
