# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients of a gateway: their names, the digests of their keys, and what each of them may. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from typing import Any, Iterable, Mapping

#: a client's name: it is in the log, in the maps and in the name of a file
NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
#: names that the gateway's own log uses
RESERVED = ("gateway-check",)
#: what a key that was made here begins with, by which people and scanners of repositories recognize it
KEY_PREFIX = "sk-spark-"
#: a key that somebody chose: what a header can carry, and no less than can be guessed
KEY = re.compile(r"[!-~]{20,512}")
DIGEST = re.compile(r"[0-9a-f]{64}")
#: the name of a model, or of an alias, as requests carry it
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,95}")

INVENTORY, PLAYBOOK, FIRST = "inventory", "playbook", "first run"

#: maps that HAProxy looks a client up in, by the name of the file
KEYS, RATES, STREAMS, MODELS = "keys", "rates", "streams", "models"
MAPS = (KEYS, RATES, STREAMS, MODELS)


class ClientError(ValueError):
    """A client cannot be as it was asked for; the message says why."""


@dataclass(frozen=True)
class Client:
    """One client: who it is, by what digest its key is known, and what it may."""

    name: str
    sha256: str  # of its key, in hexadecimal digits
    requests_per_minute: int = 0  # 0: what all clients may
    streams: int = 0  # at a time; 0: what all clients may
    models: tuple[str, ...] = ()  # empty: whatever is served
    origin: str = INVENTORY
    created: float = 0.0  # seconds since the epoch

    @property
    def fingerprint(self) -> str:
        """So much of the digest that people can compare keys by."""
        return self.sha256[:12]


def digest(key: str) -> str:
    """The digest of a key, as HAProxy works it out of a request.

    >>> digest("sk-spark-x")[:12]
    '1d33a263cf1f'
    """
    return hashlib.sha256(key.encode()).hexdigest()


def name_problem(name: object) -> str:
    """Say why a client cannot have this name, or nothing.

    >>> name_problem("open-webui"), name_problem("a@b")
    ('', "'a@b' is no name for a client: give 1 to 64 lower-case letters, digits, dots, dashes and underscores")
    """
    if isinstance(name, str) and NAME.fullmatch(name) and name not in RESERVED:
        return ""
    rule = "give 1 to 64 lower-case letters, digits, dots, dashes and underscores"
    return f"{name!r} is no name for a client: {rule}"


def asked_for(declared: Iterable[Mapping[str, Any]]) -> list[Client]:
    """The clients of the inventory.

    :param declared: ``name``, and ``key`` or ``sha256``, and what the client may, each.
    :raises ClientError: where one of them cannot be, in no message with its key.
    """
    found: dict[str, Client] = {}
    keys: dict[str, str] = {}
    for one in declared:
        problem = name_problem(one.get("name"))
        if problem:
            raise ClientError(problem)
        name = str(one["name"])
        if name in found:
            raise ClientError(f"there are two clients of the name {name}")
        sha256 = key_digest(name, one.get("key") or "", one.get("sha256") or "")
        if sha256 in keys:
            raise ClientError(
                f"{keys[sha256]} and {name} have the same key: give each its own, so that one can be revoked"
            )
        keys[sha256] = name
        found[name] = limited(Client(name, sha256), one)
    return list(found.values())


def key_digest(name: str, key: str, sha256: str) -> str:
    """The digest of the key that a client was given, or nothing where one is to be made. :raises ClientError:"""
    if sha256 and key:
        raise ClientError(f"{name} has both a key and the sha256 of one: give one of them")
    if sha256:
        if not DIGEST.fullmatch(sha256.lower()):
            raise ClientError(f"the sha256 of {name} is not 64 hexadecimal digits")
        return sha256.lower()
    if not KEY.fullmatch(key):
        wrong = "is too short, or has characters that a header cannot carry" if key else "is empty"
        raise ClientError(
            f"the key of {name} {wrong}: "
            "give 20 to 512 printable characters without blanks, such as openssl rand -hex 32 makes"
        )
    return digest(key)


def limited(client: Client, asked: Mapping[str, Any]) -> Client:
    """A client with what it may. :raises ClientError: for what no client can."""
    models = tuple(asked.get("models") or ())
    wrong = [model for model in models if not (isinstance(model, str) and MODEL.fullmatch(model))]
    if wrong:
        raise ClientError(f"{client.name} may use the model {wrong[0]!r}, which no model is called")
    limits = {name: asked.get(name) or 0 for name in ("requests_per_minute", "streams")}
    low = [name for name, value in limits.items() if value < 0]
    if low:
        raise ClientError(
            f"{low[0]} of {client.name} is {limits[low[0]]}: give 1 or more, or 0 for what all clients may"
        )
    return replace(client, models=models, requests_per_minute=limits["requests_per_minute"], streams=limits["streams"])


def merged(there: Mapping[str, Client], given: Iterable[Client], now: float) -> dict[str, Client]:
    """The clients that there are to be: those that are given, and those that a playbook or the first run added before.

    One of the inventory that is not given is gone. One that was there before keeps its date, as long as its key stays.
    """
    wanted = {name: one for name, one in there.items() if one.origin != INVENTORY}
    for one in given:
        before = there.get(one.name)
        same = before is not None and before.sha256 == one.sha256
        wanted[one.name] = replace(one, created=before.created if before and same else now)
    return dict(sorted(wanted.items()))


def differences(there: Mapping[str, Client], wanted: Mapping[str, Client]) -> list[str]:
    """What changes, a line each, without digests beyond their fingerprints."""
    lines = [f"- {one}" for one in map(line, (there[name] for name in sorted(set(there) - set(wanted))))]
    for name in sorted(wanted):
        if name not in there or line(there[name]) != line(wanted[name]):
            lines += [f"- {line(there[name])}"] if name in there else []
            lines.append(f"+ {line(wanted[name])}")
    return lines


def line(client: Client) -> str:
    """One client, for people.

    >>> line(Client("alice", "ab" * 32, streams=4, models=("a/b",)))
    'alice, key abababababab, 4 streams, a/b (inventory)'
    """
    rate = [f"{client.requests_per_minute} requests a minute"] if client.requests_per_minute else []
    streams = [f"{client.streams} streams"] if client.streams else []
    models = [" ".join(client.models)] if client.models else []
    parts = ", ".join([client.name, f"key {client.fingerprint}", *rate, *streams, *models])
    return f"{parts} ({client.origin})"


def maps_of(clients: Mapping[str, Client]) -> dict[str, dict[str, str]]:
    """What HAProxy looks up: by map its values by their keys. What all clients may stands in its configuration."""
    every = clients.values()
    return {
        KEYS: {one.sha256: one.name for one in every if one.sha256},
        RATES: {one.name: str(one.requests_per_minute) for one in every if one.requests_per_minute},
        STREAMS: {one.name: str(one.streams) for one in every if one.streams},
        MODELS: {one.name: f",{','.join(one.models)}," for one in every if one.models},
    }


def map_text(entries: Mapping[str, str]) -> str:
    """A map as its file has it.

    >>> map_text({"b": "2", "a": "1"})
    'a 1\\nb 2\\n'
    """
    return "".join(f"{key} {value}\n" for key, value in sorted(entries.items()))


def as_asked(client: Client) -> dict[str, Any]:
    """A client as the module gateway_clients is asked for one, without a date, which the module finds out itself."""
    about = {name: value for name, value in asdict(client).items() if name != "created"}
    return {**about, "models": list(client.models)}


def to_text(clients: Mapping[str, Client]) -> str:
    """The clients as their file has them."""
    return json.dumps({name: asdict(one) for name, one in sorted(clients.items())}, indent=2, sort_keys=True) + "\n"


def from_text(text: str) -> dict[str, Client]:
    """The clients in a file, none of an empty one. :raises ClientError: where it is damaged."""
    try:
        found = json.loads(text) if text.strip() else {}
        return {str(name): _read(name, one) for name, one in found.items()}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ClientError(f"its form is not what this collection writes ({error})") from None


def _read(name: str, one: Mapping[str, Any]) -> Client:
    client = Client(
        name=name,
        sha256=str(one["sha256"]),
        requests_per_minute=int(one["requests_per_minute"]),
        streams=int(one["streams"]),
        models=tuple(str(model) for model in one["models"]),
        origin=str(one["origin"]),
        created=float(one["created"]),
    )
    if name_problem(name) or not DIGEST.fullmatch(client.sha256):
        raise ValueError(f"the client {name!r}")
    return client
