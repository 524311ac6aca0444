# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies on one disk at once is added up, and what lies on another is not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import room
from hypothesis import given
from hypothesis import strategies as st

GB = 10**9


def disk(device: int, free: int = 100 * GB) -> room.Filesystem:
    return {"device": device, "mount": f"/disk{device}", "free_bytes": free}


def test_what_stays_and_the_largest_step_count() -> None:
    needs = [
        room.Need("model", "/hf", disk(1), 30 * GB),
        room.Need("layers", "/d", disk(1), 20 * GB),
        room.Need("pulled", "/d", disk(1), 8 * GB, "pull"),
        room.Need("export", "/e", disk(1), 9 * GB, "copy"),
        room.Need("copy", "/c", disk(1), 10 * GB, "copy"),
        room.Need("elsewhere", "/x", disk(2), 5 * GB, "copy"),
        room.Need("nothing", "/y", disk(3), 0),
    ]
    first, second = room.add_up(needs)
    assert (first.bytes, second.bytes) == (69 * GB, 5 * GB)
    assert [need.what for need in first.parts] == ["model", "layers", "copy", "export"]


@pytest.mark.parametrize(("reserve", "full"), [(0, False), (40, False), (41, True)])
def test_what_is_to_stay_free_counts_too(reserve: int, full: bool) -> None:
    sums = room.add_up([room.Need("model", "/hf", disk(1), 60 * GB)])
    assert bool(room.lacking(sums, reserve)) is full


def test_of_two_readings_the_smaller_counts() -> None:
    needs = [room.Need("a", "/a", disk(1, 50 * GB), GB), room.Need("b", "/b", disk(1, 40 * GB), GB)]
    assert [one.filesystem["free_bytes"] for one in room.add_up(needs)] == [40 * GB]


NEEDS = st.lists(
    st.builds(
        room.Need,
        what=st.just("x"),
        path=st.just("/x"),
        filesystem=st.builds(disk, st.integers(1, 3)),
        bytes=st.integers(0, 10**12),
        step=st.sampled_from(["", "pull", "copy"]),
    ),
    max_size=8,
)


@given(NEEDS)
def test_a_sum_is_at_least_each_step_and_at_most_everything(needs: list[room.Need]) -> None:
    sums = {one.filesystem["device"]: one for one in room.add_up(needs)}
    for device in {need.filesystem["device"] for need in needs}:
        own = [need for need in needs if need.filesystem["device"] == device]
        whole = sum(need.bytes for need in own)
        steps = {step: sum(need.bytes for need in own if need.step in ("", step)) for step in ("", "pull", "copy")}
        assert (sums[device].bytes if device in sums else 0) == max(steps.values()) <= whole


@given(NEEDS, NEEDS)
def test_more_needs_never_make_a_sum_smaller(needs: list[room.Need], more: list[room.Need]) -> None:
    before = {one.filesystem["device"]: one.bytes for one in room.add_up(needs)}
    after = {one.filesystem["device"]: one.bytes for one in room.add_up([*needs, *more])}
    assert all(after[device] >= count for device, count in before.items())


@given(NEEDS)
def test_a_need_comes_through_a_plan(needs: list[room.Need]) -> None:
    facts = json.loads(json.dumps([room.as_facts(need) for need in needs]))
    assert [room.from_facts(one) for one in facts] == needs


def test_a_directory_that_is_not_there_yet_is_where_it_will_be(tmp_path: Path) -> None:
    here = room.filesystem(tmp_path / "a" / "b")
    assert here["device"] == Path(tmp_path).stat().st_dev
    assert os.path.ismount(here["mount"])
    assert here["free_bytes"] > 0


def test_a_link_leads_to_another_disk(tmp_path: Path) -> None:
    (tmp_path / "cache").symlink_to("/dev/shm")
    assert room.filesystem(tmp_path / "cache" / "hub")["device"] == Path("/dev/shm").stat().st_dev
