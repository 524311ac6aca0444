# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person answers, or gives by variables, and what of it will do. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue, fit, report
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.search import (
    HOST_NAME,
    USER_NAME,
    Candidate,
    label,
    port_of,
)

SPARK_MIB = 121856  # MemTotal of a Spark of 128 GB, by which the smallest number of Sparks is worked out
COUNTS = (1, 2, 4, 8)
YES, NO = ("y", "yes", "true", "on", "1"), ("n", "no", "false", "off", "0")
#: of a member: what Ansible, /etc/hosts and ssh all take
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class AnswerError(ValueError):
    """An answer will not do. The message says why, and what would."""


@dataclass(frozen=True)
class Spark:
    """A Spark that was chosen."""

    name: str
    address: str
    port: int = 22
    here: bool = False
    identity: str = ""  # a private key that may log in already

    def to_json(self) -> dict[str, Any]:
        """Plain values, of which ``Spark(**…)`` makes the same again."""
        return dict(vars(self))


@dataclass(frozen=True)
class Model:
    """A model of the catalogue. ``sparks``: the smallest number that can serve it; 0 where none of ``COUNTS`` can."""

    handle: str
    gigabytes: float | None
    sparks: int


def words(text: str | Sequence[str]) -> list[str]:
    """Words between commas and spaces.

    >>> words("1, 2"), words(["a,b", "c"])
    (['1', '2'], ['a', 'b', 'c'])
    """
    whole = text if isinstance(text, str) else " ".join(text)
    return re.split(r"[\s,]+", whole.strip(", \t\n\r")) if whole.strip(", \t\n\r") else []


def yes(text: str, default: bool) -> bool:
    """Whether an answer is yes. :raises AnswerError:"""
    said = text.strip().lower()
    if not said:
        return default
    if said not in (*YES, *NO):
        raise AnswerError(f"{text.strip()!r} is neither yes nor no")
    return said in YES


def hosts(text: str | Sequence[str], found: Sequence[Candidate]) -> list[Candidate]:
    """The chosen machines, in the order that they are named in: the leader first.

    :param text: numbers or names of the table, or addresses, each with a port if it is not 22 (``[fd00::1]:2222``).
    :raises AnswerError: for what is neither, and for what is named twice.
    """
    asked = words(text)
    if not asked:
        raise AnswerError("no Spark is named: name at least one, such as 1, spark-1b3b or 192.168.1.21")
    chosen = [_host(word, found) for word in asked]
    for at, one in enumerate(chosen):
        twin = next((asked[other] for other in range(at) if _meet(chosen[other], one)), "")
        if twin:
            raise AnswerError(f"{twin} and {asked[at]} are the same machine: name each Spark once")
    return chosen


def _meet(one: Candidate, other: Candidate) -> bool:
    mine, theirs = ({host.address, *host.further} for host in (one, other))
    return one.port == other.port and bool(mine & theirs)


def _host(word: str, found: Sequence[Candidate]) -> Candidate:
    if word.isascii() and word.isdigit():
        if not 0 < len(word) < 5 or not 0 < int(word) <= len(found):
            there = f"the table has 1 to {len(found)}" if found else "no Spark was found"
            raise AnswerError(f"there is no number {word}: {there}; an address will do as well")
        return found[int(word) - 1]
    for one in found:
        if word.lower() in (one.name, f"{one.name}.local", one.address.lower()) and word:
            return one
    return _typed(word)


def _typed(word: str) -> Candidate:
    """A machine that was not found, as it was typed."""
    bracketed = re.fullmatch(r"\[([^\]]+)\](?::(.+))?", word)
    if bracketed:
        address, port = bracketed[1], bracketed[2] or "22"
    elif word.count(":") == 1:
        address, _colon, port = word.partition(":")
    else:
        address, port = word, "22"
    number = port_of(port)
    if not number:
        raise AnswerError(f"{word!r} has the port {port!r}, which is none: give a number from 1 to 65535")
    try:
        address = str(ipaddress.ip_address(address))
    except ValueError:
        if not HOST_NAME.fullmatch(address) or re.fullmatch(r"[\d.]+", address):
            raise AnswerError(
                f"{word!r} is no number or name of the table, and no address: give one such as 192.168.1.21 or "
                "spark-1b3b.local"
            ) from None
    return Candidate(address=address, name=label(address), port=number)


def default_names(chosen: Sequence[Candidate]) -> list[str]:
    """A name for each: its host name, or else spark1, spark2 and so on, by rank."""
    names = [one.name if NAME.fullmatch(one.name) else "" for one in chosen]
    whole = all(names) and len(set(names)) == len(names) and not any(name.isdigit() for name in names)
    return names if whole else [f"spark{number}" for number in range(1, len(chosen) + 1)]


def names(text: str | Sequence[str], count: int) -> list[str]:
    """The names of the Sparks in the inventory. :raises AnswerError:"""
    said = [word.lower() for word in words(text)]
    if len(said) != count:
        raise AnswerError(f"{len(said)} names are given for {count} Sparks: give one for each, in the same order")
    for name in said:
        if not NAME.fullmatch(name) or name.isdigit():
            raise AnswerError(f"{name!r} is no name for a Spark: use letters, digits and hyphens, such as spark1")
    if len(set(said)) < count:
        raise AnswerError("a name is given twice: give each Spark its own")
    return said


def user(text: str) -> str:
    """The account on the Sparks. :raises AnswerError:"""
    said = text.strip()
    if not USER_NAME.fullmatch(said):
        raise AnswerError(
            f"{said!r} is no name of an account: give the one that you made at first boot, such as nvidia"
        )
    return said


def sparks(chosen: Sequence[Candidate], called: Sequence[str]) -> list[Spark]:
    """The chosen machines under their names."""
    return [Spark(name, one.address, one.port, one.here, one.identity) for one, name in zip(chosen, called)]


def summary(members: Sequence[Spark], account: str, handle: str, path: str) -> list[str]:
    """What was chosen, as lines.

    >>> summary([Spark("a", "10.0.0.1", here=True), Spark("b", "10.0.0.2", 2222)], "me", "x/y", "my.yml")
    ['rank 0  a, 10.0.0.1, this machine', 'rank 1  b, 10.0.0.2, port 2222', 'user me, model x/y, inventory my.yml']
    """
    lines = []
    for rank, one in enumerate(members):
        more = [f"port {one.port}"] if one.port != 22 else []
        more += ["this machine"] if one.here else []
        lines.append(", ".join([f"rank {rank}  {one.name}", one.address, *more]))
    return [*lines, f"user {account}, model {handle}, inventory {path}"]


def models(entries: Mapping[str, Mapping[str, Any]]) -> list[Model]:
    """The models of the catalogue with their size and the smallest number of Sparks, small ones first.

    The number comes from what the catalogue knows, for Sparks of 128 GB; ``playbooks/models.yml`` asks Sparks and hub.
    """
    least: dict[str, int] = {}
    for count in COUNTS:
        nodes = [report.Host(f"spark{rank}", SPARK_MIB, 10**15) for rank in range(count)]
        for row in report.rows(entries, {}, nodes, report.Asked()):
            if row.answer == fit.FITS:
                least.setdefault(row.handle, count)
    made = [Model(handle, entry["weights_gb"], least.get(handle, 0)) for handle, entry in entries.items()]
    return sorted(made, key=lambda one: (one.sparks or 99, one.gigabytes or 0, one.handle))


def model_table(known: Sequence[Model]) -> list[str]:
    """Models as lines, numbered from 1."""
    width = max((len(one.handle) for one in known), default=0)
    lines = [f"{'':4}  {'model':{width}}  {'GB':>6}  Sparks"]
    for number, one in enumerate(known, 1):
        size = f"{one.gigabytes:g}" if one.gigabytes else "?"
        lines.append(f"{number:4}  {one.handle:{width}}  {size:>6}  {one.sparks or '?':>6}")
    return lines


def model(text: str, known: Sequence[Model], count: int) -> str:
    """The handle of the chosen model.

    :param text: a number of the table, a handle, or a part of one that no other model has. :param count: of Sparks.
    :raises AnswerError: for what is neither, and for a model that needs more Sparks.
    """
    said = text.strip()
    chosen = _model(said, known)
    if chosen.sparks > count:
        raise AnswerError(
            f"{chosen.handle} needs {chosen.sparks} Sparks, and {count} {'is' if count == 1 else 'are'} chosen: "
            "choose a smaller one"
        )
    return chosen.handle


def _model(said: str, known: Sequence[Model]) -> Model:
    if said.isascii() and said.isdigit():
        if len(said) > 4 or not 0 < int(said) <= len(known):
            raise AnswerError(f"there is no model {said}: the table has 1 to {len(known)}; a handle will do as well")
        return known[int(said) - 1]
    exact = [one for one in known if one.handle.lower() == said.lower()]
    if exact:
        return exact[0]
    if catalogue.HANDLE.fullmatch(said):
        return Model(said, None, 0)
    like = [one for one in known if said and said.lower() in one.handle.lower()]
    if len(like) == 1:
        return like[0]
    if like:
        raise AnswerError(f"{said!r} is part of {len(like)} handles: {', '.join(one.handle for one in like)}")
    raise AnswerError(f"{said!r} is no model of the table, and no handle such as openai/gpt-oss-20b")
