# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge the facts of all Sparks by all checks: findings, and what was not looked at and why. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import FORMS, cause
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor import (
    cluster_checks,
    docker_checks,
    fabric_checks,
    gateway_checks,
    system_checks,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.checks import (
    CLASSES,
    CLUSTER,
    HOST,
    SEVERITIES,
    Check,
    load,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.facts import Facts, NotLookedError, Seen

UNREACHABLE = "unreachable"
WAITS = f"dgx-spark: {contract.WAITING}: "  #: how a line of our supervisor begins that says for what it waits
FAIL_AT = (*SEVERITIES, "never")

HostJudge = Callable[[Facts], Iterable[Seen]]
ClusterJudge = Callable[[Sequence[Facts]], Iterable[Seen]]


class NotLooked(NamedTuple):
    """Checks that could not be made for one reason. :param host: empty for those of all Sparks."""

    host: str
    checks: tuple[str, ...]
    why: str


class Report(NamedTuple):
    """What the doctor found. :param findings: the worst first."""

    findings: list[dict[str, Any]]
    not_looked: list[NotLooked]
    checks: int


def host_judge(check: Check) -> HostJudge:
    """The function that judges a host by a check."""
    if check.pattern:
        return lambda facts: said_in_logs(check, facts)
    for place in (system_checks, fabric_checks, docker_checks, gateway_checks):
        if hasattr(place, check.name):
            return getattr(place, check.name)
    raise LookupError(f"no judge is called {check.name}")


def cluster_judge(check: Check) -> ClusterJudge:
    """The function that judges all hosts by a check."""
    return getattr(cluster_checks, check.name)


def said_in_logs(check: Check, facts: Facts) -> Iterable[Seen]:
    """Where a log has a line of a check's pattern: the last such line of each container.

    That a serving of ours waits is told by its state while it lasts, and is over when that says so no more.
    """
    pattern = check.pattern or re.compile(r"(?!)")
    for name, lines in facts.get("logs").items():
        said = [line for line in lines if pattern.search(line) and not line.startswith(WAITS)]
        if said:
            again = f" (the last of {len(said)} such lines)" if len(said) > 1 else ""
            yield Seen(f"{name}: {said[-1].strip()[:240]}{again}")


def judge(told: Mapping[str, Mapping[str, Any]], members: Sequence[str], only: Sequence[str] = ()) -> Report:
    """Judge what the hosts told.

    :param told: by host what its module returned, or ``why`` it did not. :param members: all hosts, in rank order.
    :param only: names of checks; empty for all.
    """
    names = tuple(members)
    hosts = [Facts(name, told.get(name) or {"why": "nothing was read"}, names) for name in names]
    wanted = [check for check in load().values() if not only or check.name in only]
    findings: list[dict[str, Any]] = []
    skipped: dict[tuple[str, str], list[str]] = {}
    for host in hosts:
        if host.lost and any(check.name == UNREACHABLE for check in wanted):
            findings.append(_finding(load()[UNREACHABLE], (host.name,), Seen(host.lost)))
    reached = [host for host in hosts if not host.lost]
    for check in wanted:
        if check.name == UNREACHABLE:
            continue
        if check.scope == HOST:
            for host in reached:
                _one(check, (host.name,), partial(host_judge(check), host), findings, skipped)
        elif len(reached) > 1 or check.name == "engine_hangs":
            _one(check, (), partial(cluster_judge(check), reached), findings, skipped)
        elif len(hosts) > 1:
            skipped.setdefault(("", "fewer than two Sparks were reached"), []).append(check.name)
    for host in hosts:
        if host.lost:
            skipped.setdefault((host.name, "the Spark was not reached"), []).extend(
                check.name for check in wanted if check.scope == HOST and check.name != UNREACHABLE
            )
    findings.sort(key=_order)
    left = [NotLooked(host, tuple(checks), why) for (host, why), checks in skipped.items()]
    return Report(findings, left, len(wanted))


def _one(
    check: Check,
    hosts: tuple[str, ...],
    ask: Callable[[], Iterable[Seen]],
    findings: list[dict[str, Any]],
    skipped: dict[tuple[str, str], list[str]],
) -> None:
    """Make one check; what comes of it goes into one of the two lists."""
    why, whose = "", hosts[0] if hosts else ""
    try:
        for seen in ask():
            findings.append(_finding(check, seen.hosts or hosts, seen))
    except NotLookedError as error:
        why, whose = str(error), whose or error.host
    except FORMS as error:
        why = f"what was read has a form that is not known ({cause(error)})"
    if why:
        skipped.setdefault((whose, why), []).append(check.name)


def _finding(check: Check, hosts: tuple[str, ...], seen: Seen) -> dict[str, Any]:
    # what nothing can be done with here, such as a model with two commits, is not offered
    treatable = check.treatable and bool(seen.data)
    kind = check.kind if treatable or not check.treatable else "decide"
    return {
        "check": check.name,
        "title": check.title,
        "hosts": list(hosts),
        "severity": check.severity,
        "class": kind,
        "class_in_words": CLASSES[kind],
        "preflight": check.preflight,
        "seen": str(seen.words),  # a damaged fact may be its own words
        "why": check.why,
        "mend": seen.mend or check.mend,
        "treatable": treatable,
        "data": [dict(one) for one in seen.data],
    }


def _order(finding: Mapping[str, Any]) -> tuple[int, str, str]:
    return SEVERITIES.index(finding["severity"]), str(finding["hosts"]), str(finding["check"])


def failing(report: Report, fail_at: str) -> list[dict[str, Any]]:
    """The findings for which the playbook fails. :param fail_at: the mildest severity that counts, or never."""
    if fail_at == "never":
        return []
    most = SEVERITIES.index(fail_at)
    return [finding for finding in report.findings if SEVERITIES.index(finding["severity"]) <= most]


def treatments(report: Report, names: Sequence[str]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Of the findings that are to be mended, by host and check what each mend needs to know."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for finding in report.findings:
        if finding["check"] in names and finding["treatable"]:
            for host in finding["hosts"]:
                found.setdefault(host, {}).setdefault(finding["check"], []).extend(finding["data"])
    return found


def changes(
    treated: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], members: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """By host what the mends will change, each by its check and what it is of.

    :param treated: as :func:`treatments` returns it.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in members}
    for name, checks in treated.items():
        for check, some in checks.items():
            for one in some:
                of = one.get("path") or one.get("unit")
                found[name].append({**change(f"Mend {check}"), **({"of": of} if of else {})})
    return found


__all__ = ["CLUSTER", "FAIL_AT", "NotLooked", "Report", "changes", "failing", "judge", "treatments"]
