# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What will lie on each filesystem of a host at once, and whether it fits.

This module util is private to the collection.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, Iterable, Mapping, NamedTuple

#: a filesystem as :func:`filesystem` returns it, on its way through JSON: ``device``, ``mount``, ``free_bytes``
Filesystem = Dict[str, Any]


class Need(NamedTuple):
    """Bytes that are going to lie somewhere.

    :param what: for people. :param path: the directory. :param filesystem: the one that the directory is on.
    :param step: during which the bytes are there; empty for bytes that stay. Steps follow one another.
    """

    what: str
    path: str
    filesystem: Filesystem
    bytes: int
    step: str = ""


class Sum(NamedTuple):
    """The most that lies on one filesystem at once.

    :param parts: the needs that make it up, the largest first.
    """

    filesystem: Filesystem
    bytes: int
    parts: list[Need]


def filesystem(path: str | os.PathLike[str]) -> Filesystem:
    """Return where a path is, or would be once its directories are made.

    ``device`` is st_dev, by which two paths are known to share their room; ``mount`` is where the filesystem is
    mounted; ``free_bytes`` may be written by anybody.
    """
    place = Path(os.path.realpath(path))  # which takes a loop of links as it is, unlike Path.resolve
    while not place.exists():
        place = place.parent
    device, about = place.stat().st_dev, os.statvfs(place)
    while place != place.parent and place.parent.stat().st_dev == device:
        place = place.parent
    return {"device": device, "mount": str(place), "free_bytes": about.f_bavail * about.f_frsize}


def add_up(needs: Iterable[Need]) -> list[Sum]:
    """Return the most that lies at once on each filesystem: what stays, and the largest step.

    Where two readings of one filesystem differ, the smaller one counts.
    """
    by_device: dict[int, list[Need]] = {}
    for need in needs:
        if need.bytes > 0:
            by_device.setdefault(need.filesystem["device"], []).append(need)
    return [_sum(some) for some in by_device.values()]


def _sum(needs: list[Need]) -> Sum:
    totals: dict[str, int] = {}
    for need in needs:
        totals[need.step] = totals.get(need.step, 0) + need.bytes
    stays = totals.pop("", 0)
    step = max(totals, key=lambda name: totals[name], default="")
    parts = [need for need in needs if need.step in ("", step)]
    least = min((need.filesystem for need in needs), key=lambda one: int(one["free_bytes"]))
    return Sum(least, stays + totals.get(step, 0), sorted(parts, key=lambda need: -need.bytes))


def line(one: Sum) -> str:
    """Return a sum for people.

    >>> root = {"device": 1, "mount": "/", "free_bytes": 90 * 10**9}
    >>> parts = [Need("the model", "/hf", root, 40 * 10**9), Need("layers", "/d", root, 20 * 10**9)]
    >>> line(Sum(root, 60 * 10**9, parts))
    '/: 40.00 GB for the model in /hf + 20.00 GB for layers in /d = 60.00 GB at once, 90.00 GB are free'
    """
    parts = " + ".join(f"{gigabytes(need.bytes)} for {need.what} in {need.path}" for need in one.parts)
    free = f"{gigabytes(one.filesystem['free_bytes'])} are free"
    return f"{one.filesystem['mount']}: {parts} = {gigabytes(one.bytes)} at once, {free}"


def lacking(sums: Iterable[Sum], reserve_gb: float) -> list[Sum]:
    """Return the filesystems on which it does not fit, with what is to stay free there."""
    return [one for one in sums if one.bytes + reserve_gb * 1e9 > one.filesystem["free_bytes"]]


def gigabytes(count: float) -> str:
    """Return bytes as GB for people.

    >>> gigabytes(65250000000), gigabytes(700)
    ('65.25 GB', '0.00 GB')
    """
    return f"{count / 1e9:.2f} GB"


def as_facts(need: Need) -> dict[str, Any]:
    """Return a need as a plan can carry it."""
    return need._asdict()


def from_facts(facts: Mapping[str, Any]) -> Need:
    """Return the need that :func:`as_facts` made facts of."""
    return Need(**facts)
