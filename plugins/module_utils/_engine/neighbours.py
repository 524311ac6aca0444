# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether one more instance can be beside the others that the Sparks have. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.instances import SWARM, called, said
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.serving import Serving

BUDGET = "engine_serve_memory_budget_mib"


def problems(one: Serving, found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Why an instance cannot be beside the others that the Sparks have; each with host, value, cause and mend.

    :param found: by member, as engine_host_info returns it.
    """
    for name in one.members:
        others = found[name].get("others", [])
        for other in others:
            yield from filter(None, (_led(one, name, other), _port(one, name, other), _gpu(one, name, other)))
        yield from filter(None, [budget_problem(one, name, found[name]), _memory(one, name, found[name])])


def _led(one: Serving, name: str, other: Mapping[str, Any]) -> str:
    """Loads on a Spark come one after the other by a lock of the leader's node, so both must be led from there."""
    rank = one.members.index(name)
    if (rank == 0) == (other["rank"] == 0) and (rank == 0 or other["leader"] == one.members[0]):
        return ""
    return (
        f"{name} is rank {other['rank']} of {said(other)}, led by {other['leader']}, and would be rank {rank} of this "
        f"one, led by {one.members[0]}, so that nobody could order their loads: give both the same first Spark"
    )


def _port(one: Serving, name: str, other: Mapping[str, Any]) -> str:
    """Of another instance that does not listen just now, too."""
    if name == one.members[0]:
        (own_host, own), (host, port) = (_place(text) for text in (one.cluster["api_listen"], other["api_listen"]))
        everywhere = str(ipaddress.IPv4Address(0))
        if own != port or (own_host != host and everywhere not in (own_host, host)):
            return ""
        what, option = f"port {port} of {host} is the API's", "engine_serve_api_port, such as -e spark_api_port=8356"
    else:
        port = str(other["ssh_port"])
        if str(one.cluster["ssh_port"]) != port:
            return ""
        what, option = f"port {port} is the workers' sshd's", "engine_serve_ssh_port"
    return f"{name}: {what} of {said(other)}: choose another one for {called(one.instance)} ({option})"


def _place(listen: str) -> tuple[str, str]:
    host, _colon, port = listen.rpartition(":")
    return host, port


def _gpu(one: Serving, name: str, other: Mapping[str, Any]) -> str:
    if one.launcher != SWARM or other["launcher"] != SWARM:
        return ""
    return (
        f"{name}: the Swarm has given the only GPU of this Spark to {said(other)}, and gives it to no second service: "
        f"have systemd start {called(one.instance)} beside it (-e spark_launcher=docker)"
    )


def share_mib(one: Serving) -> int:
    """MiB of a rank's share of the weights."""
    limits = one.cluster["limits"]
    return int(limits["memory_need_mib"] - limits["memory_reserve_mib"])


def kv_budget_mib(one: Serving, totals: Sequence[int]) -> int:
    """MiB that a budget leaves to the KV cache, as the supervisor counts them; 0 where there is no budget.

    :param totals: what each member has in all.
    """
    budget = one.cluster["limits"].get("memory_budget_mib", 0)
    beside = max(contract.scaled_mib(contract.KEPT_MIB, total) for total in totals)
    return max(1, budget - share_mib(one) - beside) if budget else 0


def _promised(one: Serving) -> int:
    return int(one.cluster["limits"].get("memory_budget_mib", 0)) or share_mib(one)


def budget_problem(one: Serving, name: str, found: Mapping[str, Any]) -> str:
    """Why a budget cannot be kept on a Spark; empty where it can, or where there is none."""
    budget, total = one.cluster["limits"].get("memory_budget_mib", 0), found["memory_mib"]
    if not budget:
        return ""
    share, beside = share_mib(one), contract.scaled_mib(contract.KEPT_MIB, total)
    if budget > share + beside:
        return ""
    return (
        f"{name}: {BUDGET} is {budget} MiB, and a rank needs more than {share + beside}: {share} for its share of the "
        f"weights, {beside} for what else it takes, and the KV cache: raise it, or choose a smaller model"
    )


def _memory(one: Serving, name: str, found: Mapping[str, Any]) -> str:
    """Why there is no memory for one more, by what all were promised, and by what is left beside those that serve."""
    others, total = found.get("others", []), found["memory_mib"]
    if not others or total <= 0:
        return ""
    limits, own = one.cluster["limits"], _promised(one)
    reserve = contract.scaled_mib(limits["memory_reserve_mib"], total)
    parts = {said(other): other["budget_mib"] or other["share_mib"] for other in others}
    if own + sum(parts.values()) + reserve > total:
        listed = ", ".join(f"{mib} to {who}" for who, mib in parts.items())
        return (
            f"{name} has {total} MiB in all, of which {listed} are promised; {own} for {called(one.instance)} and "
            f"{reserve} beside all of them (engine_serve_memory_reserve_mib) do not fit: choose a smaller model, lower "
            f"{BUDGET} of one of them, or remove one (undo.yml -e spark_instance=NAME)"
        )
    free = found.get("memory_available_mib", 0)
    need, runs = share_mib(one) + reserve, found["state"].get("phase") == contract.SERVING
    unbounded = [other for other in others if not other["budget_mib"] and other["phase"] == contract.SERVING]
    if runs or not unbounded or not 0 < free < need:
        return ""
    most = total - reserve - max(own, share_mib(one) + contract.scaled_mib(contract.KEPT_MIB, total))
    return (
        f"{name} has {free} MiB available, and {called(one.instance)} needs {need}: {said(unbounded[0])} has no "
        f"budget, and took what was free when it loaded. Run its playbook again with -e {BUDGET}={most} or less, then "
        "this one"
    )


def doubts(one: Serving, found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What may go wrong later: whoever has no budget takes what is free when it loads, and the order may change."""
    others = [other for name in one.members for other in found[name].get("others", [])]
    free = list(dict.fromkeys(said(other) for other in others if not other["budget_mib"]))
    if others and not one.cluster["limits"].get("memory_budget_mib"):
        free.append(called(one.instance))
    if not free:
        return []
    verb = "has no memory budget and takes" if len(free) == 1 else "have no memory budget and take"
    return [
        f"{' and '.join(free)} {verb} of the memory what is free at each load: where that comes first, as it may after "
        f"a reboot, little is left for the others. Give each a budget ({BUDGET})"
    ]


def default_budget_mib(instance: str, asked: int, need: int, reserve: int, totals: Sequence[int]) -> int:
    """The budget of an instance: as it was asked for; else of one with a name what it needs, and of the other none.

    :param need: MiB of a rank, the reserve included, as both are for a Spark of 128 GB. :param totals: of all members.

    >>> default_budget_mib("vlm", 0, 34576, 24576, [122880]), default_budget_mib("vlm", 0, 34576, 24576, [61440])
    (34576, 22288)
    >>> default_budget_mib("vlm", 0, 34576, 24576, [122572])
    34576
    >>> default_budget_mib("", 0, 34576, 24576, [122880]), default_budget_mib("", 50000, 34576, 24576, [])
    (0, 50000)
    """
    if asked or not instance:
        return asked
    beside = max(reserve, 2 * contract.KEPT_MIB)  # whatever the reserve is, some is for the KV cache
    scaled = contract.scaled_mib(beside, min([total for total in totals if total > 0], default=0))
    # In whole GiB, so that another kernel, which leaves a few MiB more or less, is no other configuration.
    return need - reserve + -(-scaled // 1024) * 1024
