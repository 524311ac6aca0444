# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is in the cluster: one check of the members, which every role begins with.

This module util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence


class MembersError(ValueError):
    """The cluster cannot be planned with these members; the message says why, and what to change."""


def check(
    members: Sequence[str],
    option: str,
    host: str,
    play_hosts: Sequence[str],
    alive: Sequence[str],
    addresses: Mapping[str, str],
    forks: int,
) -> dict[str, Any]:
    """Return ``leader``, ``workers`` and this host's ``rank``.

    :param members: inventory names in rank order. :param option: the variable that they come from, for messages.
    :param host: this host's name. :param play_hosts: all hosts of the play. :param alive: those that have not failed.
    :param addresses: management address by name. :param forks: how many hosts Ansible asks at the same time.
    :raises MembersError: when a plan of these members would be wrong or half.

    >>> check(["a", "b"], "spark_members", "b", ["b", "a"], ["a", "b"], {"a": "10.0.0.1", "b": "10.0.0.2"}, 5)
    {'leader': 'a', 'workers': ['b'], 'rank': 1, 'is_leader': False}
    """
    problem = _problem(members, option, host, play_hosts, alive, addresses, forks)
    if problem:
        raise MembersError(f"{problem} Nothing was changed.")
    rank = list(members).index(host)
    return {"leader": members[0], "workers": list(members[1:]), "rank": rank, "is_leader": rank == 0}


def _problem(
    members: Sequence[str],
    option: str,
    host: str,
    play_hosts: Sequence[str],
    alive: Sequence[str],
    addresses: Mapping[str, str],
    forks: int,
) -> str:
    names = ", ".join(members)
    if not members:
        return f"{option} is empty: name the Sparks in rank order, the leader first."
    twice = sorted({name for name in members if list(members).count(name) > 1})
    if twice:
        return f"{option} ({names}) names {', '.join(twice)} more than once: name each Spark once."
    if host not in members:
        return f"{host} runs this play and is not one of {option} ({names}): add it, or leave it out of the play."
    absent = [name for name in members if name not in play_hosts]
    if absent:
        return (
            f"{', '.join(absent)} of {option} ({names}) is not in this play, and the plan needs every member: "
            "add it to the play's hosts, and run without --limit."
        )
    failed = [name for name in members if name not in alive]
    if failed:
        return f"{', '.join(failed)} of {option} ({names}) failed earlier in this play: mend that, and run it again."
    for name in members:
        same = [other for other in members if other in addresses and addresses[other] == addresses.get(name)]
        if len(same) > 1:
            return f"{' and '.join(same)} have the same management address {addresses[name]}: correct ansible_host."
    if forks < len(members):
        return (
            f"{len(members)} Sparks must be asked at the same time, and Ansible asks {forks}: "
            f"add --forks {len(members)}."
        )
    return ""
