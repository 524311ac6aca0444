# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the supervisor's state file, and a Swarm's tasks, say of a serving. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract


def unstartable(tasks: Sequence[dict[str, Any]], since: float, now: float, patience: float = 20) -> list[str]:
    """Which tasks of a Swarm cannot start their container, and will not by themselves, in words.

    :param tasks: as ``_swarm.tasks_of`` returns them. :param since: what was before is of no interest, in seconds.
    :param now: seconds on the same clock. :param patience: for how many seconds a task may be without a node.

    >>> task = {"name": "trtllm_worker", "node": "", "state": "pending", "wanted": "running", "at": 0}
    >>> task["error"] = "no suitable node (insufficient resources on 1 node)"
    >>> unstartable([task], since=5, now=20), unstartable([task], since=5, now=30)
    ([], ['trtllm_worker is pending: no suitable node (insufficient resources on 1 node)'])
    """
    says: Counter[str] = Counter()
    for task in tasks:
        waits = task["state"] == "pending" and task["wanted"] == "running" and now - max(since, task["at"]) > patience
        refused = task["state"] == "rejected" and task["at"] >= since
        if task["error"] and (waits or refused):
            where = f" on {task['node']}" if task["node"] else ""
            # One refusal may be the last of what was just mended.
            says[f"{task['name']}{where} is {task['state']}: {task['error']}"] += 2 if waits else 1
    return sorted(words for words, count in says.items() if count > 1)


def failing(tasks: Sequence[dict[str, Any]], since: float, least: int = 3) -> list[str]:
    """Which tasks of a Swarm have ended with an error again and again, in words.

    :param tasks: as ``_swarm.tasks_of`` returns them. :param since: what was before is of no interest, in seconds.
    :param least: so often; once may be a start anew.

    >>> task = {"name": "x_web", "node": "spark1", "state": "failed", "at": 9, "error": "task: non-zero exit (255)"}
    >>> failing([task] * 3, 5), failing([task] * 2, 5)
    (['x_web on spark1 has failed 3 times: task: non-zero exit (255)'], [])
    """
    ends: dict[tuple[str, str], list[str]] = {}
    for task in tasks:
        if task["state"] == "failed" and task["at"] >= since:
            ends.setdefault((task["name"], task["node"]), []).append(task["error"])
    return sorted(
        f"{name}{f' on {node}' if node else ''} has failed {len(errors)} times: {errors[0]}"
        for (name, node), errors in ends.items()
        if len(errors) >= least
    )


def is_of(state: Mapping[str, Any], config_digest: str) -> bool:
    """Whether a state speaks of containers that were started with a configuration; of any, where that is empty.

    >>> is_of({"config": "a"}, "a"), is_of({"config": "a"}, "b"), is_of({"config": "a"}, ""), is_of({}, "")
    (True, False, True, False)
    """
    return "config" in state and config_digest in ("", state["config"])


def problems_of(
    state: Mapping[str, Any], config_digest: str, members: Sequence[str], require_rdma: bool
) -> tuple[bool, list[str]]:
    """Whether a serving has settled (it serves, or its supervisor gave up), and one sentence for each problem.

    :param state: ``state.json``, of the shape :class:`contract.State`, empty where there is none.
    :param config_digest: what the containers must have been started with, empty for whatever is configured.
    :param members: names in rank order.
    """
    phase, reason = state.get("phase", "not started"), state.get("reason") or ""
    if not is_of(state, config_digest):
        return False, ["the containers that were asked for have not started"]
    if phase == contract.GAVE_UP:
        return True, [f"the supervisor gave up: {reason}"]
    if phase != contract.SERVING:
        return False, [f"{phase}: {reason}" if reason else str(phase)]
    ranks = state.get("ranks")
    transports = {name: one for name, one in ranks.items() if _is_transport(one)} if isinstance(ranks, dict) else {}
    found = (
        contract.rank_problem(rank, name, transports.get(contract.short(name))) for rank, name in enumerate(members)
    )
    return True, [problem for problem in found if problem] if require_rdma else []


def _is_transport(one: object) -> bool:
    """Whether something is of the shape :class:`contract.Transport`, as far as it is read."""
    return isinstance(one, dict) and {"transport", "devices"} <= set(one)
