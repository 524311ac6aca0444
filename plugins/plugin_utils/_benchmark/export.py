# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client tells of a run, whichever client it is.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import NamedTuple


class Request(NamedTuple):
    """One request, as the client saw it. Times in ms; None where it tells none."""

    began_ns: int | None
    ended_ns: int | None
    ttft_ms: float | None
    latency_ms: float | None
    gaps_ms: tuple[float, ...]  # between pieces of the stream, which are tokens where a piece has one
    input_tokens: int | None
    output_tokens: int | None  # as the server counts
    error: str  # empty for none


class Export(NamedTuple):
    """A run, as the client tells it."""

    requests: list[Request]  # those that are measured
    warmup: list[Request]
    problem: str  # why there is no more; empty where all of it was read
    version: str
    duration_s: float | None = None  # of all requests together, of a client that tells no moment of each
