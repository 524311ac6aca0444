# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report the links and the bandwidth of a fabric that is as planned; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.bandwidth import bandwidth_problem
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "links": {"type": "list", "elements": "dict", "required": True},
        "answers": {"type": "list", "elements": "dict", "required": True},
        "measured": {"type": "dict", "default": {}},
        "earlier": {"type": "dict", "default": {}},
        "min_gbps": {"type": "float", "default": 0.0},
        "hotplug": {"type": "list", "elements": "str", "default": []},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the verified links and the bandwidth."""
        return report(task_vars["inventory_hostname"], **asked)


def report(
    host: str,
    links: list[dict[str, Any]],
    answers: list[dict[str, Any]],
    measured: dict[str, Any],
    earlier: dict[str, Any],
    min_gbps: float,
    hotplug: Sequence[str] = (),
) -> dict[str, Any]:
    """Return ``links`` and ``bandwidth`` of the report.

    :raises PlanError: where a planned link has no answer, or the bandwidth is missing or too small.
    """
    answered = {(answer["netdev"], answer["peer"]) for answer in answers}
    silent = [f"{link['netdev']} to {link['peer']}" for link in links if (link["netdev"], link["peer"]) not in answered]
    if silent:
        raise PlanError(f"{host} has no answer on {', '.join(silent)}: run the playbook again")
    if not links or not min_gbps:
        return {"links": answers, "bandwidth": None}
    bandwidth = measured if measured.get("measured") else earlier
    if not bandwidth.get("measured"):
        raise PlanError(f"{host} has not measured the bandwidth of its links: run the playbook again")
    tool = bandwidth["tool"]
    problems = [bandwidth_problem(host, found, min_gbps, tool, hotplug) for found in bandwidth["measured"]]
    if any(problems):
        raise PlanError("The fabric is too slow: " + "; ".join(filter(None, problems)))
    return {"links": answers, "bandwidth": {"tool": tool, "measured": bandwidth["measured"]}}
