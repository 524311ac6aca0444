# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is at the other end: frames, and when enough is known."""

from __future__ import annotations

import socket

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.probe import (
    ETHERTYPE,
    Neighbors,
    machine_id,
    pack,
    probe,
    unpack,
)
from hypothesis import given
from hypothesis import strategies as st

OWN, OTHER, THIRD = "3c:6d:66:00:00:01", "3c:6d:66:00:00:02", "3c:6d:66:00:00:03"


@given(
    sender=st.tuples(st.from_regex(r"[0-9a-f:]{1,17}", fullmatch=True), st.integers(0, 9)),
    met=st.sets(st.from_regex(r"[0-9a-f:]{1,17}", fullmatch=True), max_size=50),
)
def test_a_frame_says_what_was_put_into_it(sender: tuple, met: set) -> None:
    frame = pack(OWN, sender, met)
    assert 60 <= len(frame) <= 1514
    assert frame[:12].hex() == "f" * 12 + OWN.replace(":", "")
    assert int.from_bytes(frame[12:14], "big") == ETHERTYPE
    assert unpack(frame) == (sender, met)


@given(st.binary(max_size=200))
def test_what_others_send_is_not_taken_for_it(noise: bytes) -> None:
    assert unpack(noise) is None
    assert unpack(pack(OWN, (OWN, 0), [])[:14] + b"dgx-spark-fabric/1\0" + noise) is None or noise


def test_all_is_known_once_everybody_has_met_everybody() -> None:
    one = Neighbors(OWN, [0, 1], others=2)
    one.record(0, pack(OTHER, (OTHER, 1), []))
    one.record(0, pack(OWN, (OWN, 0), []))  # its own other half
    one.record(1, b"noise")
    assert one.found == {0: {(OTHER, 1)}, 1: set()}
    one.record(1, pack(THIRD, (THIRD, 0), [OWN]))
    assert not one.complete, "the first has not heard it yet"
    one.record(0, pack(OTHER, (OTHER, 1), [OWN, THIRD]))
    assert one.complete


def test_a_cage_that_leads_nowhere_is_waited_for() -> None:
    one = Neighbors(OWN, [0, 1], others=1)
    one.record(0, pack(OTHER, (OTHER, 1), [OWN]))
    assert not one.complete
    one.record(1, pack(OWN, (OWN, 0), []))  # to itself
    assert one.complete


def test_a_machine_without_a_signal_sends_nothing() -> None:
    dark = {"netdev": "lo", "carrier": False, "mac": OWN, "physical_port": 0}
    assert machine_id([{"mac": OTHER}, {"mac": None}, {"mac": OWN}]) == OWN
    assert probe([dark], 1, 9) == []
    assert probe([{**dark, "carrier": True}], 0, 9) == []


@pytest.mark.parametrize("said", [b"[]", b'{"id": 1}', b'{"id": "a", "cage": "x", "met": []}', b"{"])
def test_a_broken_frame_is_dropped(said: bytes) -> None:
    assert unpack(b"\0" * 14 + b"dgx-spark-fabric/1\0" + said) is None


def test_a_wire_is_deaf_until_it_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a socket with a protocol the kernel keeps frames from every netdev, until it is bound to one."""
    made = []

    def record(*arguments: int) -> None:
        made.append(arguments)
        raise InterruptedError

    monkeypatch.setattr(socket, "socket", record)
    link = {"netdev": "enp1s0f0np0", "mac": "3c:6d:66:cc:b3:b7", "carrier": True, "physical_port": 0}
    with pytest.raises(InterruptedError):
        probe([link], 1, 1)
    assert made == [(socket.AF_PACKET, socket.SOCK_RAW, 0)]
