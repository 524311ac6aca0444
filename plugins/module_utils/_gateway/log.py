# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gateway's log tells of its clients: who asked how much, how it went, and when last. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Iterable, Iterator, Sequence

#: what is looked at to tell of the last hour, in seconds
RECENT_S = 3600
#: lines of the journal that are read at most
LINES = 50_000


@dataclass(frozen=True)
class Entry:
    """One request. What is not known of it is -1, or a dash."""

    at: float  # seconds since the epoch
    client: str
    status: int
    model: str
    prompt_tokens: int
    tokens: int
    events: int
    ttft_ms: int
    ms: int
    end: str  # HAProxy's two letters of how it ended, dashes for an ordinary end


def parse(lines: Iterable[str]) -> Iterator[Entry]:
    """The requests among the lines of a gateway's journal, which also has what HAProxy says of itself."""
    for line in lines:
        if not line.startswith("{"):
            continue
        try:
            one = json.loads(line)
            yield Entry(
                at=float(one["at"]),
                client=str(one["client"]),
                status=int(one["status"]),
                model=str(one["model"]),
                prompt_tokens=number(one["prompt_tokens"]),
                tokens=number(one["tokens"]),
                events=number(one["events"]),
                ttft_ms=number(one["ttft_ms"]),
                ms=number(one["ms"]),
                end=str(one["end"]),
            )
        except (KeyError, OverflowError, RecursionError, TypeError, ValueError):
            continue


def number(value: Any) -> int:
    """A number of a log line, -1 where it has none.

    >>> number("12"), number("-"), number("-1")
    (12, -1, -1)
    """
    try:
        return int(value)
    except (OverflowError, TypeError, ValueError):
        return -1


def made(entry: Entry) -> int:
    """The tokens of an answer: as the engine counted them, or else its pieces, of which each is a token or a few.

    -1 where neither is known, as of an answer that is no stream and has no usage.
    """
    return entry.tokens if entry.tokens >= 0 else entry.events or -1


def by_client(entries: Iterable[Entry], now: float, seconds: float = RECENT_S) -> dict[str, dict[str, Any]]:
    """What each client asked within the last seconds, and when it asked last; ``-`` stands for who had no key."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.client, []).append(entry)
    return {client: _summary(some, now - seconds) for client, some in sorted(found.items())}


def _sum(values: Iterable[int]) -> int | None:
    """The sum of what is known, None where nothing is."""
    known = [value for value in values if value >= 0]
    return sum(known) if known else None


def _summary(entries: Sequence[Entry], since: float) -> dict[str, Any]:
    recent = [entry for entry in entries if entry.at >= since]
    first = sorted(entry.ttft_ms for entry in recent if entry.ttft_ms >= 0 and entry.status == 200)
    return {
        "last_at": max(entry.at for entry in entries),
        "requests": len(recent),
        "refused": sum(400 <= entry.status < 500 for entry in recent),
        "failed": sum(entry.status >= 500 for entry in recent),
        # The engine's end of a connection, 'S', went while an answer was sent, 'D'; or the client's, 'C', did.
        "cut": sum(entry.status < 400 and entry.end in ("SD", "sD") for entry in recent),
        "left": sum(entry.status < 400 and entry.end in ("CD", "cD") for entry in recent),
        "prompt_tokens": _sum(entry.prompt_tokens for entry in recent),
        "tokens": _sum(map(made, recent)),
        "ttft_ms": first[len(first) // 2] if first else None,
        "slowest_ttft_ms": first[-1] if first else None,
    }
