# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a start took that served: kept for the last starts, so that the next can be compared with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping

from . import contract, paths, state

KEPT = 10  #: receipts


def kept_in(path: Path) -> list[dict[str, Any]]:
    """The receipts of earlier starts, the last one last; none where there is no such file, or half of one."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def keep(receipt: Mapping[str, Any]) -> dict[str, Any] | None:
    """Keep a receipt. Returns the one before, None where there is none."""
    path = paths.STATE / contract.RECEIPTS
    before = kept_in(path)
    try:
        state.replace(path, [*before, dict(receipt)][-KEPT:])
    except OSError as error:  # a full disk is no reason to end what serves
        state.say(f"{path} cannot be written: {error}")
    return before[-1] if before else None


def of_start(
    values: Mapping[str, Any],
    at: float,
    reached: Mapping[str, float],
    read: Mapping[str, int | None],
    nccl: str,
    ranks: Mapping[str, contract.Transport],
) -> contract.Receipt:
    """The receipt of a start.

    :param values: ``config``, ``model``, ``load_s`` and ``kv_tokens``, as the state has them.
    :param reached: seconds until ``port`` and ``health`` were. :param read: bytes by node, None where it did not say.
    """
    config, _dash, image = str(values.get("config") or "").rpartition("-")
    bytes_read = [count for count in read.values() if count is not None]
    return {
        "at": at,
        "config": config,
        "image": image,
        "model": str(values.get("model") or ""),
        "port_s": _rounded(reached.get("port")),
        "health_s": _rounded(reached.get("health")),
        "first_token_s": float(values["load_s"]),
        "bytes_loaded": sum(bytes_read) if len(bytes_read) == len(read) else None,
        "nccl": nccl,
        "transports": {name: one["transport"] for name, one in ranks.items()},
        "kv_tokens": int(values.get("kv_tokens") or 0),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
