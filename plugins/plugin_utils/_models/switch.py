# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which model is served instead of the one that serves. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Collection, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import history
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import fit
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.report import Row

PREVIOUS, ASK = "previous", "ask"
WORDS = {fit.FITS: "fits", fit.DOES_NOT: "does not fit", fit.CANNOT_TELL: "cannot tell"}


class SwitchError(ValueError):
    """No model can be chosen; the message says why and what to do."""


def listed(rows: Sequence[Row]) -> list[Row]:
    """The models as they are numbered: those that fit first, and small ones first."""
    order = {fit.FITS: 0, fit.CANNOT_TELL: 1, fit.DOES_NOT: 2}
    return sorted(rows, key=lambda row: (order[row.answer], row.bytes or 0, row.handle))


def table(rows: Sequence[Row], cached: Collection[str], serves: str) -> list[str]:
    """The models as lines, numbered from 1.

    :param rows: as :func:`listed` returns them. :param cached: the models of which every Spark has something.
    :param serves: the model that served last.
    """
    width = max((len(row.handle) for row in rows), default=0)
    lines = [f"{'':4}  {'model':{width}}  {'GB':>6}  fit"]
    for number, row in enumerate(rows, 1):
        size = f"{row.bytes / 1e9:.1f}" if row.bytes else "?"
        words = [WORDS[row.answer]]
        words += ["in the cache"] if row.handle in cached else []
        words += ["serves"] if row.handle == serves else []
        lines.append(f"{number:4}  {row.handle:{width}}  {size:>6}  {', '.join(words)}")
    return lines


def refusal(handle: str, rows: Sequence[Row]) -> str:
    """Why a chosen model is not taken; empty where it is."""
    row = next((one for one in rows if one.handle == handle), None)
    if row is None or row.answer != fit.DOES_NOT:
        return ""
    return f"{handle} does not fit: {'; '.join(row.reasons) or 'its weights are too large'}; choose a smaller one"


def previous(known: Sequence[history.Entry]) -> history.Entry:
    """What served before the model that serves. :raises SwitchError: where the history does not tell."""
    found = history.previous(known)
    if found:
        return found
    last = history.current(known)
    told = f"tells of {last['repo']} alone" if last else "is empty"
    raise SwitchError(
        f"spark_model=previous asks for what served before, and the history on the leader {told}: name a model, such "
        "as -e spark_model=openai/gpt-oss-20b"
    )


def left(repo: str, named: str, before: str) -> str:
    """What a person has to do when a model serves that the inventory may not name.

    :param named: ``spark_model`` as it was given. :param before: the model that served before, empty for none.
    """
    instead = f" instead of {before}" if before not in ("", repo) else ""
    options = " with its options, which history.json on the leader has," if named == PREVIOUS else ""
    back = f" -e spark_model=previous brings {before} back." if instead else ""
    return (
        f"{repo} serves{instead}. Let spark_model: {repo}{options} stand in the inventory: two_spark.yml and "
        f"single_spark.yml serve what stands there.{back}"
    )


def as_asked(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an entry, as trtllm_serve takes them."""
    return {name: value for name, value in entry["asked"].items() if value is not None}
