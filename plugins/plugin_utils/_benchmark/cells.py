# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a benchmark measures, and in which order: profiles, the cells of their sweeps, and their runs. Pure functions.

A cell is one load: so many tokens in and out, so many requests at once. Each cell is run several times, so that there
is a spread. All cells come in every round, in an order of its own, so that a Spark that grows hot slows no cell alone.

This plugin util is private to the collection.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Mapping, NamedTuple

from ansible.module_utils.common.yaml import yaml_load

FILE = Path(__file__).with_name("profiles.yml")
CUSTOM = "custom"  #: a profile without a line in the file: all of it is asked for
MOST_TOKENS, MOST_AT_ONCE, MOST_REQUESTS, MOST_RUNS, MOST_CELLS = 10_000_000, 4096, 1_000_000, 100, 1000
OPTIONS = ("input", "output", "depth", "concurrency", "requests", "requests_each", "rate")
SWEPT = ("input", "output", "depth", "concurrency")  #: of which a list is a sweep


class CellsError(ValueError):
    """What is asked for cannot be measured. The message names option, value and mend."""


@dataclass(frozen=True)
class Cell:
    """One load."""

    input: int  # tokens of a prompt, beside the depth
    output: int  # tokens of an answer
    depth: int  # tokens of the context that all prompts begin with
    concurrency: int  # requests at once
    rate: float  # requests a second, 0 for no limit
    requests: int  # that are measured
    warmup: int  # that come before, and count for nothing

    @property
    def key(self) -> str:
        """Its name in files and tables, by what sets it apart.

        >>> Cell(128, 64, 0, 4, 0, 10, 4).key, Cell(128, 64, 4096, 1, 0.5, 10, 1).key
        ('i128-o64-c4', 'i128-o64-d4096-c1-r0.5')
        """
        depth = f"-d{self.depth}" if self.depth else ""
        rate = f"-r{self.rate:g}" if self.rate else ""
        return f"i{self.input}-o{self.output}{depth}-c{self.concurrency}{rate}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


class Job(NamedTuple):
    """One run of a cell."""

    cell: Cell
    run: int  # from 1
    seed: int  # of the prompts


@lru_cache(maxsize=1)
def profiles() -> dict[str, dict[str, Any]]:
    """The profiles by name."""
    return dict(yaml_load(FILE.read_text(encoding="utf-8")))


def cells(profile: str, asked: Mapping[str, Any]) -> list[Cell]:
    """The cells of a profile, each once, in the order of the lists.

    :param asked: what is asked for instead of what the profile says; None, and what is not there, leaves the profile's.
    :raises CellsError: where a name or a number will not do.
    """
    said = _said(profile, asked)
    axes = {name: _numbers(name, said.get(name), 0 if name == "depth" else 1) for name in SWEPT}
    made = [
        _cell(said, {"input": given, "output": wanted, "depth": depth, "concurrency": at_once})
        for depth in axes["depth"]
        for given in axes["input"]
        for wanted in axes["output"]
        for at_once in axes["concurrency"]
    ]
    if len(made) > MOST_CELLS:
        raise CellsError(f"the sweep has {len(made)} cells, more than {MOST_CELLS}: ask for fewer values at a time")
    return list({one.key: one for one in made}.values())


def _said(profile: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    known = profiles()
    if profile != CUSTOM and profile not in known:
        raise CellsError(f"benchmark_profile is {profile!r}, and the profiles are {', '.join([*known, CUSTOM])}")
    given = {name: value for name, value in asked.items() if name in OPTIONS and value is not None}
    said = {**known.get(profile, {"depth": 0, "concurrency": 1}), **given}
    if "requests" in given:
        said.pop("requests_each", None)
    lacking = [name for name in ("input", "output") if name not in said]
    lacking += [] if "requests" in said or "requests_each" in said else ["requests"]
    if lacking:
        names = " and ".join(f"benchmark_{name}" for name in lacking)
        raise CellsError(f"the profile {profile} says no {' and no '.join(lacking)}: give {names}")
    return said


def _cell(said: Mapping[str, Any], one: Mapping[str, int]) -> Cell:
    at_once = one["concurrency"]
    rate = _number("rate", said.get("rate", 0))
    if "requests_each" in said:
        requests = _whole("requests_each", said["requests_each"], 1, MOST_REQUESTS) * at_once
    else:
        requests = max(_whole("requests", said["requests"], 1, MOST_REQUESTS), at_once)
    return Cell(**one, rate=rate, requests=requests, warmup=at_once)


def _numbers(name: str, value: Any, least: int) -> list[int]:
    """The values of an axis: a number, a list, or text with commas as ``-e`` gives it."""
    if value is None:
        return [least]
    some = value.split(",") if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else [value]
    most = MOST_AT_ONCE if name == "concurrency" else MOST_TOKENS
    if not some:
        raise CellsError(f"benchmark_{name} is empty: give a number from {least} to {most}, or several with commas")
    return [_whole(name, one, least, most) for one in some]


def _whole(name: str, value: Any, least: int, most: int) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or not least <= int(text[:20]) <= most:
        raise CellsError(f"benchmark_{name} is {value!r}: give a whole number from {least} to {most}")
    return int(text)


def _number(name: str, value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = -1.0
    if isinstance(value, bool) or not 0 <= found <= 1e6:
        raise CellsError(f"benchmark_{name} is {value!r}: give a number from 0 to 1000000")
    return found


def jobs(some: list[Cell], runs: int, seed: int) -> list[Job]:
    """All runs of all cells, in their order: the same for the same seed.

    >>> one, other = Cell(8, 8, 0, 1, 0, 1, 1), Cell(8, 8, 0, 2, 0, 2, 2)
    >>> order = jobs([one, other], 3, seed=7)
    >>> [job.run for job in order], order == jobs([one, other], 3, seed=7), len({job.seed for job in order})
    ([1, 1, 2, 2, 3, 3], True, 6)

    :raises CellsError: where there is to be no run, or are too many.
    """
    if not 1 <= runs <= MOST_RUNS:
        raise CellsError(f"benchmark_runs is {runs}: give a number from 1 to {MOST_RUNS}")
    chance = random.Random(seed)
    made = []
    for run in range(1, runs + 1):
        order = list(some)
        chance.shuffle(order)
        made += [Job(cell, run, seed_of(seed, cell.key, run)) for cell in order]
    return made


def seed_of(seed: int, key: str, run: int) -> int:
    """The seed of a run's prompts: by cell and run alone, whatever else is measured, and of no two runs the same."""
    return zlib.crc32(f"{seed}/{key}/{run}".encode()) & 0x7FFFFFFF


# How long that takes

#: what a client of 2 cores took to start and to end, beside the load
CLIENT_S = 20.0
#: of a Spark that nothing was measured of yet: seconds to a first token, for 1000 tokens of a prompt, and for a token
TTFT_S, PER_THOUSAND_S, TOKEN_S = 0.3, 0.5, 0.04


def seconds_of(cell: Cell) -> float:
    """About how long a run takes where nothing was measured yet: an order of magnitude, to be told as one."""
    tokens = cell.input + (cell.depth if cell.requests <= cell.warmup else 0)
    each = TTFT_S + PER_THOUSAND_S * tokens / 1000 * cell.concurrency + TOKEN_S * cell.output
    turns = (cell.requests + cell.warmup) / cell.concurrency
    load = max(turns * each, cell.requests / cell.rate if cell.rate else 0.0)
    return CLIENT_S + load + PER_THOUSAND_S * cell.depth / 1000


def seconds_at_most(cell: Cell, request_s: float) -> float:
    """After how long a run is given up: where every request takes as long as it may. :param request_s: that is."""
    turns = -(-(cell.requests + cell.warmup) // cell.concurrency) + 1
    return CLIENT_S * 3 + turns * request_s + (cell.requests / cell.rate if cell.rate else 0.0)
