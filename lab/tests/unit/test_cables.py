# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cable does to a frame, and which conditions a cable can have."""

from __future__ import annotations

import cables
import pytest
from hypothesis import given
from hypothesis import strategies as st

SOUND = cables.Condition()


@pytest.mark.parametrize(
    ("condition", "powered", "kind"),
    [
        (SOUND, True, "veth"),
        (SOUND, False, "none"),
        (cables.Condition(plugged=False), True, "none"),
        (cables.Condition(delay_ms=1), True, "relay"),
        (cables.Condition(loss_percent=1), True, "relay"),
        (cables.Condition(mtu=1500), True, "relay"),
        (cables.Condition(plugged=False, mtu=1500), True, "none"),
    ],
)
def test_link_kind(condition: cables.Condition, powered: bool, kind: str) -> None:
    assert cables.link_kind(condition, powered) == kind


@given(st.integers(14, 9230), st.floats(0, 0.999))
def test_a_sound_cable_carries_every_frame_at_once(length: int, chance: float) -> None:
    assert cables.fate(length, SOUND, chance) == 0


@given(st.integers(14, 9230), st.integers(68, 9216), st.floats(0, 0.999))
def test_mtu_counts_the_packet_without_its_ethernet_header(length: int, mtu: int, chance: float) -> None:
    carried = cables.fate(length, cables.Condition(mtu=mtu), chance) is not None
    assert carried == (length - 14 <= mtu)


@given(st.floats(0, 100), st.floats(0, 0.999999))
def test_loss_is_a_share_of_the_frames(loss: float, chance: float) -> None:
    lost = cables.fate(1500, cables.Condition(loss_percent=loss), chance) is None
    assert lost == (chance < loss / 100)


def test_delay_is_in_milliseconds() -> None:
    assert cables.fate(64, cables.Condition(delay_ms=250), 0.5) == 0.25


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"delay_ms": -1}, "delay_ms is -1"),
        ({"loss_percent": 101}, "loss_percent is 101"),
        ({"mtu": 60}, "mtu is 60"),
        ({"mtu": 65000}, "mtu is 65000"),
    ],
)
def test_impossible_conditions_are_refused(wanted: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        cables.change(SOUND, wanted)


def test_change_keeps_what_it_is_not_told_of() -> None:
    bent = cables.change(SOUND, {"delay_ms": 3.0})
    assert cables.change(bent, {"plugged": False}) == cables.Condition(plugged=False, delay_ms=3.0)


def test_names() -> None:
    assert cables.port_name("spark3", 2) == "s3n2"
    assert cables.cage_name("spark8:1") == "s8c1"
    assert cables.cage_name("switch") == "switch"
