# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The soak: what is asked over and over, and whether tokens flowed to the end. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.contract import COMPLETION

#: long enough to be written about for some hundred tokens, each with a beginning of its own, so that no cached prefix
#: makes one cheap
SUBJECTS = (
    "how rain forms",
    "how a sailing boat goes against the wind",
    "why leaves turn yellow in autumn",
    "how bread dough rises",
    "how a lock lifts a ship",
    "why the sea has tides",
    "how bees find their way home",
    "how a bicycle stays upright",
)


def requests(model: str, path: str, tokens: int) -> list[dict[str, Any]]:
    """The requests; none makes more tokens than these."""
    found = []
    for number, subject in enumerate(SUBJECTS):
        asks = f"{number + 1}. Explain in detail {subject}, with an example."
        said = {"prompt": asks} if path == COMPLETION else {"messages": [{"role": "user", "content": asks}]}
        body = {"model": model, **said, "max_tokens": tokens, "temperature": 0.7, "stream": True}
        found.append({"id": subject, "body": {**body, "stream_options": {"include_usage": True}}})
    return found


def seconds_at_most(minutes: float, gap_s: float, tokens: int) -> int:
    """How long a soak may take in all: what is asked, and for the last answers at a tenth of a second a token.

    >>> seconds_at_most(60, 60, 256)
    3746
    """
    return int(minutes * 60 + 2 * gap_s + tokens / 10 + 1)


def problem(outcome: Mapping[str, Any], minutes: float, gap_s: float) -> str:
    """Why a soak failed, empty where it did not.

    :param outcome: of the shape :class:`ask.Outcome`. :param gap_s: the longest that a token may take.
    """
    if outcome["errors"]:
        return f"requests failed: {'; '.join(outcome['errors'])}"
    if not outcome["tokens"]:
        return "no token came"
    if outcome["gap_s"] > gap_s:
        return f"a token took {outcome['gap_s']:.1f} s, {outcome['gap_at_s']:.0f} s after the beginning"
    still = minutes * 60 - outcome["last_token_s"]
    if still > gap_s:
        return f"no token came in the last {still:.0f} s"
    return ""


def words(outcome: Mapping[str, Any]) -> str:
    """What came of it, in one line."""
    rate = outcome["tokens"] / max(outcome["seconds"], 0.1)
    return (
        f"{outcome['count']} answers, {outcome['tokens']} tokens in {outcome['seconds'] / 60:.1f} min, {rate:.1f} a "
        f"second, longest gap {outcome['gap_s']:.1f} s"
    )
