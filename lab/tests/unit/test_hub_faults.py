# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults: which are refused, and which request each one hits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_internet.faults import Fault, FaultBook, FaultError, Request, changes_body, parse_fault

CUT = {"service": "hub", "kind": "cut"}
GET = Request("hub", "GET", "/lab/tiny/resolve/main/model.safetensors", "192.0.2.1")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (None, "a fault is a JSON object"),
        ([], "a fault is a JSON object"),
        ({}, "service must be one of hub, registry, apt, not None"),
        ({"service": "mail", "kind": "cut"}, "service must be one of"),
        ({"service": "hub"}, "kind must be one of cut, status, etag, content, slow, hang, not None"),
        ({"service": "hub", "kind": ["cut"]}, "kind must be one of"),
        ({**CUT, "status": 500}, "a fault of kind cut does not take status"),
        ({**CUT, "after": 1, "bytes": 1}, "does not take after, bytes"),
        ({**CUT, "match": "("}, "match is not a regular expression"),
        ({**CUT, "match": 1}, "match must be a string, not 1"),
        ({**CUT, "range": "("}, "range is not a regular expression"),
        ({**CUT, "client": 1}, "client must be a string"),
        ({**CUT, "times": 0}, "times must be a whole number, 1 or more, not 0"),
        ({**CUT, "times": True}, "times must be a whole number"),
        ({**CUT, "after_bytes": -1}, "after_bytes must be a whole number, 0 or more, not -1"),
        ({**CUT, "after_bytes": "9"}, "after_bytes must be a whole number"),
        ({**CUT, "how": "knife"}, "how must be fin or rst, not 'knife'"),
        ({"service": "hub", "kind": "status"}, "status must be a whole number, from 400 to 599, not None"),
        ({"service": "hub", "kind": "status", "status": 200}, "status must be"),
        ({"service": "hub", "kind": "status", "status": 429, "retry_after": 1.5}, "retry_after must be"),
        ({"service": "hub", "kind": "etag", "etag": 'a"\r\nb'}, "etag must be one word"),
        ({"service": "hub", "kind": "slow"}, "bytes_per_second must be a whole number, 1 or more, not None"),
        ({"service": "hub", "kind": "hang", "seconds": "long"}, "seconds must be"),
    ],
)
def test_refused(fault: object, reason: str) -> None:
    with pytest.raises(FaultError) as caught:
        parse_fault(fault)
    assert reason in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
names = st.sampled_from(
    ["service", "kind", "match", "range", "client", "method", "times", "after_bytes", "how", "status", "etag"]
)


@settings(deadline=None)
@given(json_values | st.dictionaries(names, st.sampled_from(["hub", "cut", "status"]) | json_values))
def test_no_value_raises_anything_else(value: object) -> None:
    try:
        fault = parse_fault(value)
    except FaultError:
        return
    assert parse_fault({name: item for name, item in fault.as_json().items() if name not in ("id", "applied")}) == fault


@pytest.mark.parametrize(
    ("fault", "hit"),
    [
        ({}, True),
        ({"match": "safetensors$"}, True),
        ({"match": "^/other"}, False),
        ({"client": "192.0.2.1"}, True),
        ({"client": "192.0.2.2"}, False),
        ({"method": "GET"}, True),
        ({"method": "HEAD"}, False),
        ({"service": "registry"}, False),
        ({"range": "^$"}, True),
        ({"range": "bytes"}, False),
    ],
)
def test_matching(fault: dict[str, Any], hit: bool) -> None:
    assert parse_fault({**CUT, **fault}).matches(GET) is hit


@pytest.mark.parametrize(("wanted", "hit"), [("", True), ("bytes=9-", True), ("bytes=0-65535", False)])
def test_matching_by_range(wanted: str, hit: bool) -> None:
    fault = parse_fault({**CUT, "range": r"^(bytes=\d+-)?$"})
    assert fault.matches(replace(GET, range=wanted)) is hit


@pytest.mark.parametrize(
    ("fault", "length", "changes"),
    [
        ({"kind": "cut", "after_bytes": 5}, 5, False),
        ({"kind": "cut", "after_bytes": 5}, 6, True),
        ({"kind": "cut", "after_bytes": 5}, None, True),
        ({"kind": "cut"}, 0, False),
        ({"kind": "hang", "after_bytes": 5}, 6, True),
        ({"kind": "hang"}, 6, False),
        ({"kind": "content", "at_byte": 6}, 6, False),
        ({"kind": "content", "at_byte": 5}, 6, True),
        ({"kind": "slow", "bytes_per_second": 1}, 0, False),
        ({"kind": "slow", "bytes_per_second": 1}, 1, True),
        ({"kind": "status", "status": 500}, 9, False),
        ({"kind": "etag"}, 9, False),
    ],
)
def test_which_bodies_change(fault: dict[str, Any], length: int | None, changes: bool) -> None:
    assert changes_body(parse_fault({"service": "hub", **fault}), length) is changes


def book(*faults: dict[str, Any]) -> FaultBook:
    made = FaultBook()
    made.add([parse_fault({"service": "hub", **fault}) for fault in faults])
    return made


def active(made: FaultBook) -> list[int]:
    return [fault["id"] for fault in made.as_json()["active"]]


def test_a_fault_is_spent_only_by_what_it_changes() -> None:
    made = book({"kind": "cut", "after_bytes": 100})
    assert made.take_body(GET, 100) == {}
    assert active(made) == [1]
    assert made.take_body(GET, 101)["cut"].id == 1
    assert active(made) == []
    assert made.take_body(GET, 101) == {}
    (row,) = made.as_json()["applied"]
    assert (row["id"], row["kind"], row["path"], row["client"]) == (1, "cut", GET.path, "192.0.2.1")


def test_times() -> None:
    made = book({"kind": "status", "status": 503, "times": 2}, {"kind": "status", "status": 500, "times": None})
    statuses = [fault.status for fault in (made.take_early(GET) for _turn in range(5)) if fault]
    assert statuses == [503, 503, 500, 500, 500]
    assert active(made) == [2]


def test_one_fault_of_a_kind_and_the_oldest_first() -> None:
    made = book(
        {"kind": "cut", "after_bytes": 7},
        {"kind": "hang", "after_bytes": 3},
        {"kind": "slow", "bytes_per_second": 9},
        {"kind": "cut", "after_bytes": 5},
    )
    assert {kind: fault.id for kind, fault in made.take_body(GET, 10).items()} == {"cut": 1, "slow": 3}
    assert {kind: fault.id for kind, fault in made.take_body(GET, 10).items()} == {"hang": 2}


def test_early_faults_are_no_body_faults() -> None:
    made = book({"kind": "hang"}, {"kind": "etag"})
    assert made.take_body(GET, 10) == {}
    assert isinstance(made.take_early(GET), Fault)
    assert made.take_early(GET) is None
    assert isinstance(made.take_etag(GET), Fault)


def test_removing() -> None:
    made = book({"kind": "etag"}, {"kind": "etag"}, {"kind": "etag"})
    made.take_etag(GET)
    assert made.remove(2) == 1
    assert made.remove(2) == 0
    assert active(made) == [3]
    assert len(made.as_json()["applied"]) == 1
    assert made.remove() == 1
    assert made.as_json() == {"active": [], "applied": []}
