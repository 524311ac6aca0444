# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a planned serving does not serve, whether what last served can be put back, and what serves then. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.instances import SWARM

UNTOLD = "a task failed, as shown above"
NONE_KNOWN = "nothing else is known to have served here"
KEYS_LOST = "its SSH keys were gone, and others were made"
NOT_ALL_KEPT = "not every Spark has kept what served before"
UNNAMED = "What served before"


@dataclass(frozen=True)
class Told:
    """What is known of a member when the planned serving has failed."""

    answers: bool  # whether it can be reached
    failed: Mapping[str, Any] = field(default_factory=dict)  # the result of its task that failed; empty where none did
    kept: Mapping[str, Any] = field(default_factory=dict)  # what engine_last_good returned of keeping; empty if unasked


def plan(
    told: Mapping[str, Told],
    launcher: str,
    last_good: str,
    keys_lost: bool,
    former: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Why the planned serving does not serve, and whether what last served is put back.

    :param told: by member, the leader first. :param last_good: the configuration that last served; empty for none.
    :param keys_lost: whether MPI's keys were made anew, without which what last served would not start.
    :param former: another engine that served before, as former.of returns it: then that comes back.
    :return: what the module engine_back_plan documents.
    """
    leader = next(iter(told))
    unreached = [name for name, one in told.items() if not one.answers]
    # A Swarm starts and ends the containers of all Sparks from the leader.
    silent = [name for name in unreached if launcher != SWARM or name == leader]
    kept = [one.kept for one in told.values()]
    failed = why([one.failed for one in told.values()], unreached)
    if former:
        # What takes its place is removed from all Sparks before it comes back.
        returns = former["returns"] and not unreached
        reasons = [] if former["returns"] else [f"{former['name']} had not served"]
        return {
            **{"why": failed, "silent": unreached, "can_go_back": False, "to_former": returns},
            "not_kept": [*(f"{name} cannot be reached" for name in unreached), *reasons],
            "was": f"{former['model']} ({former['name']})",
            "was_stopped": former["was_stopped"],
            "former": dict(former),
        }
    return {
        "why": failed,
        "silent": silent,
        "to_former": False,
        "former": {},
        "can_go_back": bool(last_good) and not silent and all(one.get("kept", False) for one in kept),
        "not_kept": not_kept(kept, silent, keys_lost) if last_good else [NONE_KNOWN],
        "was": str(kept[0].get("repo") or ""),
        "was_stopped": bool(kept[0].get("was_stopped")),
    }


def why(failed: Sequence[Mapping[str, Any]], unreached: Sequence[str]) -> str:
    """Why the planned serving does not serve, by the first member whose task failed; of a loop by the first item.

    :param failed: of each member the result of the task that failed; empty where none did.

    >>> why([{}, {"msg": "spark2 has no image"}], []), why([{}], ["spark2"])
    ('spark2 has no image.', 'spark2 cannot be reached.')
    """
    items = [item for one in failed for item in one.get("results") or [] if item.get("failed")]
    unsaid = f"{', '.join(unreached)} cannot be reached" if unreached else UNTOLD
    said = next((str(one["msg"]) for one in [*items, *failed] if one.get("msg")), unsaid)
    return said if said.endswith(".") else f"{said}."


def not_kept(kept: Sequence[Mapping[str, Any]], silent: Sequence[str], keys_lost: bool) -> list[str]:
    """What keeps what last served from being put back, in words."""
    return [
        *(f"{name} cannot be reached" for name in silent),
        *([KEYS_LOST] if keys_lost else []),
        *(one["why"] for one in kept if one.get("why")),
    ]


def sentence(planned: Mapping[str, Any], members: Sequence[str], problems: Sequence[str]) -> str:
    """What serves now.

    :param planned: what :func:`plan` returned. :param members: the leader first.
    :param problems: why what was put back does not serve either; none where it serves, or was not put back.
    """
    if not (planned["can_go_back"] or planned["to_former"]):
        return f"Nothing was put back: {'; '.join(planned['not_kept']) or NOT_ALL_KEPT}."
    was, where = planned["was"] or UNNAMED, ", ".join(members)
    if planned["was_stopped"]:
        return f"{was} is stopped on {where}, as before: start.yml starts it."
    if problems:
        return f"{was} was put back, and does not serve either: {'; '.join(problems)}."
    return f"{was} serves again on {where}, as before: mend what the reason names, and run this again."
