# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A measurement of NCCL as a document, and in some lines. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

import time
from typing import Any, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.document import VIRTUAL
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._nccl import judge, output

SCHEMA = 1


def ran_of(measured: Mapping[str, Any]) -> dict[str, judge.Ran]:
    """What ran, by operation, in the order of the measurement.

    :param measured: as the module nccl_tests_container returns it.
    """
    ended = (measured.get("result") or {}).get("operations") or {}
    return {
        name: judge.Ran(
            output.parse((measured.get("outputs") or {}).get(name, "")),
            int(one.get("status") or 0),
            bool(one.get("timed_out")),
            float(one.get("seconds") or 0),
        )
        for name, one in ended.items()
    }


def report(
    measured: Mapping[str, Any], asked: judge.Asked, plan: Mapping[str, Any], stale: Mapping[str, Any], now: float
) -> dict[str, Any]:
    """The document: what was measured, how it is judged, and all figures.

    :param stale: by host the changes of cx7_network's plan. :param now: seconds since the epoch.
    """
    ran, result = ran_of(measured), measured.get("result") or {}
    problems = [*_before(measured, ran), *judge.problems(ran, asked)]
    doubts = [*judge.doubts(ran, asked), *_stale(stale)]
    networks = {name: vars(network) for one in ran.values() for name, network in one.output.networks.items()}
    return {
        "schema": SCHEMA,
        "at": now,
        "virtual": bool(plan.get("virtual")),
        "nodes": list(asked.members),
        "base_image": plan.get("base_image", ""),
        "image": (plan.get("image") or {}).get("name", ""),
        "origin": result.get("origin", ""),
        "outcome": judge.outcome(problems),
        "problems": [vars(one) for one in problems],
        "doubts": doubts,
        "summary": judge.summary(ran, asked),
        "networks": {name: {**one, "devices": list(one["devices"])} for name, one in networks.items()},
        "operations": {
            name: {
                **one.output.to_json(),
                "argv": result["operations"][name].get("argv", []),
                "status": one.status,
                "timed_out": one.timed_out,
                "seconds": one.seconds,
            }
            for name, one in ran.items()
        },
    }


def _before(measured: Mapping[str, Any], ran: Mapping[str, judge.Ran]) -> list[judge.Problem]:
    """What kept the leader's program from measuring anything, or from its end."""
    result = measured.get("result") or {}
    last = "; ".join((measured.get("log") or [])[-5:])
    if result.get("problem"):
        return [judge.Problem("not started", str(result["problem"]))]
    if not result:
        return [
            judge.Problem(
                "not started", f"the leader's container measured nothing; what it wrote last: {last or 'nothing'}"
            )
        ]
    if result.get("left_out") and not any(one.timed_out for one in ran.values()):
        left = " and ".join(result["left_out"])
        return [
            judge.Problem(
                "failed", f"{left} was not measured, since the container ended before; what it wrote last: {last}"
            )
        ]
    return []


def _stale(stale: Mapping[str, Any]) -> list[str]:
    """That the fabric is not as planned, which may explain what was measured."""
    return [
        f"{host} is not as cx7_network plans it, which may be why: {', '.join(one['name'] for one in changes)}"
        for host, changes in stale.items()
        if changes
    ]


def text(found: Mapping[str, Any]) -> list[str]:
    """The report in some lines."""
    lines = [VIRTUAL] if found["virtual"] else []
    lines.append(f"NCCL between {' and '.join(found['nodes'])}: {found['outcome']}")
    for one in found["summary"]:
        speed = "not judged" if one["busbw"] is None else f"{one['busbw']:g} GB/s of bus bandwidth"
        latency = "" if one["latency_us"] is None else f", the smallest message {one['latency_us']:g} µs"
        lines.append(f"{one['operation']}: {speed} ({one['wanted']:g} are wanted){latency}")
    for name, network in sorted(found["networks"].items()):
        lines.append(f"{name} talks over {network['transport']} ({', '.join(network['devices']) or 'no device named'})")
    lines += [f"wrong: {one['text']}" for one in found["problems"]]
    lines += [f"note: {one}" for one in found["doubts"]]
    if found["origin"]:
        lines.append(f"the programs are {found['origin']}")
    return lines


def when(found: Mapping[str, Any]) -> str:
    """The time of a report, for people."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(found["at"]))
