# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cable does to a frame, and which conditions a cable can have."""

from __future__ import annotations

from pathlib import Path

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


# --- the hot-plug driver ----------------------------------------------------------------------------------------------

CARD = cables.Card(pid=7, booted=100.0)


def through(card: cables.Card, armed: bool, *moments: tuple[float, bool]) -> cables.Card:
    """The card after each (time, whether a cable is live)."""
    for now, live in moments:
        card = cables.card_after(card, armed, live, now, 15)
    return card


def test_a_card_without_a_live_cable_leaves_the_bus_some_seconds_after_the_boot() -> None:
    assert through(CARD, True, (100, False), (114.9, False)).present
    assert not through(CARD, True, (100, False), (115, False)).present


def test_a_card_stays_where_the_driver_is_off() -> None:
    assert through(CARD, False, (100, False), (500, False)).present


def test_a_boot_with_the_cable_in_is_no_hot_add() -> None:
    card = through(CARD, True, (100, False), (110, True), (500, True))
    assert (card.present, card.added) == (True, 0)


def test_a_cable_that_goes_dead_takes_the_card_and_brings_it_back_as_a_hot_add() -> None:
    """So does a peer's reboot."""
    gone = through(CARD, True, (100, True), (200, False), (201, False))
    assert (gone.present, gone.added) == (False, 0)
    back = through(gone, True, (230, True), (300, True))
    assert (back.present, back.added) == (True, 1)


@pytest.mark.parametrize(("text", "seconds"), [("5\n", 5), ("", 15), ("soon", 15)])
def test_the_seconds_after_a_boot_are_the_switch_s(text: str, seconds: float) -> None:
    assert cables.boot_seconds(text) == seconds


def test_a_peer_that_was_just_switched_on_gives_no_light_yet(tmp_path) -> None:
    """Else a container's reboot, which takes no time, would not be seen."""
    plan = {
        "sparks": [{"name": name, "container": name, "nics": [{"cage": 0}]} for name in ("spark1", "spark2")],
        "cables": [{"name": "cable1", "ends": ["spark1:0", "spark2:0"]}],
    }
    cabling = cables.Cabling(plan)
    cabling._cards = {"spark1": cables.Card(1, 0.0), "spark2": cables.Card(2, 100.0)}
    ends = {"spark1:0", "spark2:0"}
    assert not cabling._live("spark1", ends, 102.9)
    assert cabling._live("spark1", ends, 103)
    assert cabling._live("spark2", ends, 100)
    assert not cabling._live("spark1", {"spark1:0"}, 200)


def test_a_netdev_that_the_kernel_took_late_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Spark's old netdevs were still there when it started again, and went after that."""
    plan = {"sparks": [{"name": "spark1", "container": "a", "nics": [{"cage": 0}, {"cage": 1}]}], "cables": []}
    cabling, made = cables.Cabling(plan), []
    cabling._pids = {"spark1": 1}
    monkeypatch.setattr(cables, "NETDEVS", tmp_path)
    monkeypatch.setattr(cabling, "_follow_cards", lambda _lit: False)
    monkeypatch.setattr(cabling, "reconcile", lambda: made.append(1))
    for name in ("s1n1", "s1n2"):
        (tmp_path / name).touch()
    for present, gone, times in ((True, "", 0), (True, "s1n2", 1), (False, "s1n1", 1)):
        cabling._cards = {"spark1": cables.Card(1, 0.0, present=present)}
        (tmp_path / (gone or "none")).unlink(missing_ok=True)
        cabling.tick()
        assert len(made) == times
