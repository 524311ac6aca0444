# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of a gateway: who is refused, what changes, and what HAProxy looks up."""

from __future__ import annotations

import contextlib
import doctest
import hashlib
import json
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import clients
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.clients import Client, ClientError
from damaged import texts, values
from hypothesis import given
from hypothesis import strategies as st

ONE, TWO = "1" * 64, "2" * 64
KEY = "sk-spark-of-a-test-0123456789"
NAMES = st.from_regex(clients.NAME, fullmatch=True).filter(lambda name: name not in clients.RESERVED)
CLIENTS = st.builds(
    Client,
    name=NAMES,
    sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    requests_per_minute=st.integers(0, 10**6),
    streams=st.integers(0, 10**4),
    models=st.lists(st.from_regex(clients.MODEL, fullmatch=True), max_size=3).map(tuple),
    origin=st.sampled_from([clients.INVENTORY, clients.PLAYBOOK, clients.FIRST]),
    created=st.integers(0, 2**32).map(float),
)
EVERY = st.lists(CLIENTS, max_size=6, unique_by=lambda one: one.name).map(lambda some: {one.name: one for one in some})


def test_examples() -> None:
    assert doctest.testmod(clients).failed == 0


def test_a_key_is_known_by_its_digest_alone() -> None:
    (found,) = clients.asked_for([{"name": "alice", "key": KEY, "streams": 4, "models": ["lab/tiny-chat"]}])
    assert found == Client("alice", hashlib.sha256(KEY.encode()).hexdigest(), streams=4, models=("lab/tiny-chat",))
    assert KEY not in clients.to_text({"alice": found}) + json.dumps(clients.maps_of({"alice": found}))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ([{"name": "Alice", "key": KEY}], "'Alice' is no name for a client"),
        ([{"name": "../alice", "key": KEY}], "is no name for a client"),
        ([{"name": "gateway-check", "key": KEY}], "is no name for a client"),
        ([{"name": "a" * 65, "key": KEY}], "is no name for a client"),
        ([{"name": "alice", "key": KEY}, {"name": "alice", "sha256": ONE}], "two clients of the name alice"),
        ([{"name": "alice", "key": KEY}, {"name": "bob", "key": KEY}], "alice and bob have the same key"),
        ([{"name": "alice"}], "the key of alice is empty"),
        ([{"name": "alice", "key": "short"}], "the key of alice is too short"),
        ([{"name": "alice", "key": f"{KEY} {KEY}"}], "characters that a header cannot carry"),
        ([{"name": "alice", "key": KEY, "sha256": ONE}], "both a key and the sha256"),
        ([{"name": "alice", "sha256": "12"}], "not 64 hexadecimal digits"),
        ([{"name": "alice", "key": KEY, "streams": -1}], "streams of alice is -1"),
        ([{"name": "alice", "key": KEY, "models": ["a b"]}], "may use the model 'a b'"),
    ],
)
def test_what_no_client_can_be_is_refused_without_a_word_of_the_key(asked: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ClientError) as refused:
        clients.asked_for(asked)
    assert says in str(refused.value)
    assert KEY not in str(refused.value)


def test_clients_of_the_inventory_come_and_go_with_it_and_others_stay() -> None:
    there = {
        "alice": Client("alice", ONE, created=5.0),
        "bob": Client("bob", TWO, origin=clients.PLAYBOOK, created=6.0),
        "carl": Client("carl", "3" * 64, origin=clients.FIRST, created=7.0),
    }
    kept = clients.merged(there, [Client("alice", ONE, streams=2)], 9.0)
    assert kept == {**there, "alice": Client("alice", ONE, streams=2, created=5.0)}
    assert clients.merged(there, [], 9.0) == {name: there[name] for name in ("bob", "carl")}
    assert clients.merged(there, [Client("alice", TWO)], 9.0)["alice"].created == 9.0
    assert clients.merged(there, [Client("bob", ONE)], 9.0)["bob"].origin == clients.INVENTORY


def test_differences_tell_of_digests_no_more_than_people_need() -> None:
    lines = clients.differences(
        {"alice": Client("alice", ONE)}, {"alice": Client("alice", TWO), "bob": Client("bob", ONE)}
    )
    assert lines == [
        f"- alice, key {ONE[:12]} (inventory)",
        f"+ alice, key {TWO[:12]} (inventory)",
        f"+ bob, key {ONE[:12]} (inventory)",
    ]


@given(EVERY)
def test_what_is_written_is_read_again(every: dict[str, Client]) -> None:
    assert clients.from_text(clients.to_text(every)) == dict(sorted(every.items()))


@given(EVERY, st.lists(CLIENTS, max_size=4, unique_by=lambda one: one.name), st.floats(0, 2e9))
def test_a_second_run_changes_nothing(there: dict[str, Client], given_ones: list[Client], now: float) -> None:
    once = clients.merged(there, given_ones, now)
    assert clients.merged(once, given_ones, now + 1) == once
    assert clients.differences(once, once) == []


@given(EVERY)
def test_maps_have_one_value_a_line_and_nothing_of_somebody_else(every: dict[str, Client]) -> None:
    maps = clients.maps_of(every)
    assert set(maps[clients.KEYS].values()) <= set(every)
    for entries in maps.values():
        lines = clients.map_text(entries).splitlines()
        assert dict(line.split(" ") for line in lines) == entries


@given(texts(clients.to_text({"alice": Client("alice", ONE, models=("a/b",))})) | values({"a": 1}).map(json.dumps))
def test_a_damaged_file_is_told_and_gives_no_client_without_a_key(text: str) -> None:
    with contextlib.suppress(ClientError):
        assert all(clients.DIGEST.fullmatch(one.sha256) for one in clients.from_text(text).values())
