# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel counts while a copy runs: received bytes, processor time, the link's speed.

This module util is private to the collection.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable, Mapping


def received(root: Path = Path("/sys/class/net")) -> dict[str, int]:
    """Return the bytes that every network interface has received."""
    return {path.parts[-3]: int(path.read_text()) for path in sorted(root.glob("*/statistics/rx_bytes"))}


def link_speed(netdev: str, root: Path = Path("/sys/class/net")) -> float | None:
    """Return what an interface carries, in bytes a second, None where the interface does not tell."""
    try:
        speed = int((root / netdev / "speed").read_text())
    except (OSError, ValueError):
        return None
    return speed * 1e6 / 8 if speed > 0 else None


def processor_time(stat: Path = Path("/proc/stat")) -> tuple[float, float]:
    """Return the processors' busy time and all their time, in ticks."""
    ticks = [int(word) for word in stat.read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def netdev_towards(run_command: Callable[..., tuple[int, str, str]], address: str) -> str:
    """Return the interface by which an address is reached, an empty string where no route leads there."""
    rc, out, _err = run_command(["ip", "-json", "route", "get", address])
    if rc:
        return ""
    return str(json.loads(out)[0].get("dev", ""))


def bound_by(seconds: Mapping[str, float], cpu_busy: float, rate: float, link: float | None) -> str:
    """Return what kept a copy from being faster: link, processor, disk, hashing or sender.

    :param seconds: what the streams spent their time on: receive, hash, write.
    :param cpu_busy: the share of this Spark's processor time that was used meanwhile.
    :param rate: bytes a second.
    :param link: what the link carries, in bytes a second.
    """
    if link and rate >= 0.8 * link:
        return "link"
    if cpu_busy >= 0.9:
        return "processor"
    longest = max(seconds, key=lambda what: seconds[what])
    return {"write": "disk", "hash": "hashing", "receive": "sender"}[longest]
