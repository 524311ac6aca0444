# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a serving does not serve, whether what served before comes back, and what the play says of both."""

from __future__ import annotations

from typing import Any, Mapping

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import going_back
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.going_back import Told

PAIR = ["spark1", "spark2"]
KEPT = {"kept": True, "why": "", "repo": "lab/a", "was_stopped": False}
UNKEPT = {"kept": False, "why": "spark2 runs no container of it", "repo": "", "was_stopped": False}
FAILED = {"failed": True, "msg": "spark1 does not serve lab/b"}
LOOP = {"failed": True, "msg": "All items completed", "results": [{"msg": "x"}, {"failed": True, "msg": "no image"}]}
UNREACHED = Told(answers=False)


def told(*members: Told) -> dict[str, Told]:
    return dict(zip(PAIR, members))


def planned(*members: Told, launcher: str = "docker", last_good: str = "aa", keys_lost: bool = False) -> dict[str, Any]:
    return going_back.plan(told(*members), launcher, last_good, keys_lost)


def one(failed: Mapping[str, Any] = FAILED, kept: Mapping[str, Any] = KEPT) -> Told:
    return Told(True, failed, kept)


@pytest.mark.parametrize(
    ("failed", "unreached", "why"),
    [
        ([FAILED, {}], [], "spark1 does not serve lab/b."),
        ([{}, {"msg": "second"}], ["spark1"], "second."),
        ([{"msg": "first"}, {"msg": "second"}], [], "first."),
        ([{"msg": "first"}, LOOP], [], "no image."),
        ([{"msg": "spark1 has no image. Nothing was changed."}], [], "spark1 has no image. Nothing was changed."),
        ([{"msg": "", "results": [{"failed": False, "msg": "fine"}]}], [], "a task failed, as shown above."),
        ([{"results": None, "rc": 1}, {}], [], "a task failed, as shown above."),
        ([{}, {}], ["spark2"], "spark2 cannot be reached."),
        ([{}, {}], PAIR, "spark1, spark2 cannot be reached."),
    ],
    ids=[
        "the leader",
        "a worker, with a leader that cannot be reached",
        "the first of two",
        "an item of a loop comes first",
        "whole sentences",
        "an item that did not fail",
        "a result without words",
        "a worker that cannot be reached",
        "nobody can be reached",
    ],
)
def test_why_it_does_not_serve(failed: list[dict[str, Any]], unreached: list[str], why: str) -> None:
    assert going_back.why(failed, unreached) == why


@pytest.mark.parametrize(
    ("members", "more", "silent", "goes_back", "not_kept"),
    [
        ([one(), one()], {}, [], True, []),
        ([one(), one()], {"launcher": "swarm"}, [], True, []),
        ([one(), one()], {"last_good": ""}, [], False, ["nothing else is known to have served here"]),
        ([one(), one(kept=UNKEPT)], {}, [], False, ["spark2 runs no container of it"]),
        ([one(kept={}), one()], {}, [], False, []),
        (
            [one(kept={"skipped": True}), one(kept={"skipped": True})],
            {"keys_lost": True},
            [],
            False,
            ["its SSH keys were gone, and others were made"],
        ),
        ([one(), UNREACHED], {}, ["spark2"], False, ["spark2 cannot be reached"]),
        ([one(), UNREACHED], {"launcher": "swarm"}, [], False, []),
        ([one(), Told(False, {}, KEPT)], {"launcher": "swarm"}, [], True, []),
        ([one(), Told(False, {}, KEPT)], {}, ["spark2"], False, ["spark2 cannot be reached"]),
        ([UNREACHED, one()], {"launcher": "swarm"}, ["spark1"], False, ["spark1 cannot be reached"]),
        ([UNREACHED, UNREACHED], {"last_good": ""}, PAIR, False, ["nothing else is known to have served here"]),
        (
            [UNREACHED, one(kept=UNKEPT)],
            {"keys_lost": True},
            ["spark1"],
            False,
            [
                "spark1 cannot be reached",
                "its SSH keys were gone, and others were made",
                "spark2 runs no container of it",
            ],
        ),
    ],
    ids=[
        "all kept it",
        "all kept it, of a Swarm",
        "nothing served before",
        "one did not keep it",
        "one did not come to keep it",
        "keys were made anew",
        "a worker that cannot be reached",
        "a Swarm's worker that was gone before it kept it",
        "a Swarm's worker that was gone after it kept it",
        "a worker that was gone after it kept it",
        "a leader that cannot be reached",
        "all gone, and nothing served before",
        "every reason at once",
    ],
)
def test_whether_what_served_before_is_put_back(
    members: list[Told], more: dict[str, Any], silent: list[str], goes_back: bool, not_kept: list[str]
) -> None:
    found = planned(*members, **more)
    assert (found["silent"], found["can_go_back"], found["not_kept"]) == (silent, goes_back, not_kept)


@pytest.mark.parametrize(
    ("members", "problems", "says"),
    [
        (
            [one(), one()],
            [],
            "lab/a serves again on spark1, spark2, as before: mend what the reason names, and run this again.",
        ),
        (
            [one(kept={**KEPT, "repo": ""}), one()],
            [],
            "What served before serves again on spark1, spark2, as before: mend what the reason names, and run this "
            "again.",
        ),
        (
            [one(kept={**KEPT, "was_stopped": True}), one()],
            [],
            "lab/a is stopped on spark1, spark2, as before: start.yml starts it.",
        ),
        (
            [one(), one(kept={**KEPT, "was_stopped": True})],
            ["the supervisor gave up", "no RDMA"],
            "lab/a was put back, and does not serve either: the supervisor gave up; no RDMA.",
        ),
        ([one(kept={}), one()], [], "Nothing was put back: not every Spark has kept what served before."),
        (
            [UNREACHED, one(kept=UNKEPT)],
            [],
            "Nothing was put back: spark1 cannot be reached; spark2 runs no container of it.",
        ),
    ],
    ids=["serves again", "of no known name", "was stopped", "does not serve either", "not kept", "cannot be reached"],
)
def test_what_serves_now(members: list[Told], problems: list[str], says: str) -> None:
    assert going_back.sentence(planned(*members), PAIR, problems) == says
