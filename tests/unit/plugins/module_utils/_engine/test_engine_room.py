# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The room of an image on its way, by the way that each image store works."""

from __future__ import annotations

from typing import Any, Sequence

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import room
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.room import add_up
from hypothesis import given
from hypothesis import strategies as st

GB = 10**9
PAIR = ["spark1", "spark2"]


def docker(store: str = "graph driver", devices: Sequence[int] = (1, 1, 1), **more: Any) -> dict[str, Any]:
    """What engine_host_info tells of a Docker, with its places on these filesystems."""
    places = zip(("images", "docker", "saved"), devices)
    filesystems = {
        name: {"path": f"/{name}", "filesystem": {"device": device, "mount": f"/{device}", "free_bytes": 10**15}}
        for name, device in places
    }
    return {"store": store, "room": filesystems, "base": {}, "built": [], "images": [], **more}


def sums(found: dict[str, Any], image_id: str = "", base_bytes: int = 20 * GB) -> dict[str, dict[int, float]]:
    """GB by member and filesystem."""
    by_member = room.needs(list(found), found, image_id, base_bytes)
    return {
        name: {one.filesystem["device"]: one.bytes / GB for one in add_up(needs)} for name, needs in by_member.items()
    }


@pytest.mark.parametrize(
    ("store", "leader", "worker"),
    [
        ("graph driver", 50 + 20, 50 + 50),  # layers + as they are pulled; layers + load's own copy
        ("containerd", 50 + 20, 50 + 20),  # unpacked + as they came
    ],
)
def test_a_blank_pair_on_one_disk_each(store: str, leader: float, worker: float) -> None:
    found = {name: docker(store, (1, 1)) for name in PAIR}
    assert sums(found) == {"spark1": {1: leader}, "spark2": {1: worker}}


def test_an_image_that_docker_has_to_save_lies_twice_on_the_leader() -> None:
    assert sums({name: docker() for name in PAIR}) == {"spark1": {1: 50 + 50}, "spark2": {1: 50 + 50}}


def test_each_disk_has_its_own_sum() -> None:
    found = {name: docker(devices=(1, 2, 3)) for name in PAIR}
    assert sums(found) == {"spark1": {1: 50, 2: 20, 3: 50}, "spark2": {1: 50, 2: 50}}


def test_one_spark_saves_nothing() -> None:
    assert sums({"spark1": docker(devices=(1, 1, 1))}) == {"spark1": {1: 50 + 20}}
    assert sums({"spark1": docker("containerd")}) == {"spark1": {1: 50 + 20}}


def test_before_the_registry_is_asked_nothing_is_known() -> None:
    assert sums({name: docker() for name in PAIR}, base_bytes=-1) == {"spark1": {}, "spark2": {}}


BASE = {"id": "sha256:b", "bytes": 44 * GB, "layers": ["a", "b"]}
BUILT = {"id": "sha256:i", "bytes": 45 * GB, "layers": ["a", "b", "c"]}


def test_what_docker_has_is_as_large_as_docker_says() -> None:
    found = {"spark1": docker(base=BASE), "spark2": docker()}
    assert sums(found, base_bytes=-1) == {"spark1": {1: 44}, "spark2": {1: 2 * 44}}, "saved and loaded"
    found["spark1"] = docker(base=BASE, built=[BUILT], images=["sha256:i"])
    assert sums(found, "sha256:i", -1) == {"spark1": {1: 45}, "spark2": {1: 2 * 45}}
    found["spark2"] = docker(images=["sha256:i"])
    assert sums(found, "sha256:i", -1) == {"spark1": {}, "spark2": {}}, "it is everywhere"


def test_layers_that_a_worker_has_do_not_travel() -> None:
    older = {"id": "sha256:o", "bytes": 45 * GB, "layers": ["a", "b", "d"]}
    found = {"spark1": docker(base=BASE, built=[BUILT], images=["sha256:i"]), "spark2": docker(built=[older])}
    assert sums(found, "sha256:i", -1) == {"spark1": {1: 45}, "spark2": {1: 2}}
    found["spark3"] = docker()
    assert sums(found, "sha256:i", -1) == {"spark1": {1: 45}, "spark2": {1: 2}, "spark3": {1: 90}}


def moves(found: dict[str, Any], image_id: str = "", base_bytes: int = 20 * GB) -> dict[str, tuple[str, float]]:
    """How, and how many GB, come to each member."""
    return {
        name: (one["way"], one["bytes"] / GB)
        for name, one in room.moves(list(found), found, image_id, base_bytes).items()
    }


@pytest.mark.parametrize(("store", "copied"), [("graph driver", 50), ("containerd", 20)])
def test_what_comes_to_a_blank_pair(store: str, copied: float) -> None:
    found = {name: docker(store) for name in PAIR}
    assert moves(found) == {"spark1": ("pull", 20), "spark2": ("copy", copied)}
    assert moves(found, base_bytes=-1) == {}, "nobody has asked the registry yet"


def test_what_is_there_does_not_come() -> None:
    found = {"spark1": docker(base=BASE), "spark2": docker()}
    assert moves(found, base_bytes=-1) == {"spark2": ("copy", 44)}
    found["spark1"] = docker(base=BASE, built=[BUILT], images=["sha256:i"])
    assert moves(found, "sha256:i", -1) == {"spark2": ("copy", 45)}
    found["spark2"] = docker(images=["sha256:i"])
    assert moves(found, "sha256:i", -1) == {}, "it is everywhere"
    older = {"id": "sha256:o", "bytes": 45 * GB, "layers": ["a", "b", "d"]}
    found["spark2"] = docker(built=[older])
    assert moves(found, "sha256:i", -1) == {"spark2": ("copy", 1)}, "but for the layers that it has"


DEVICES = st.tuples(*[st.integers(1, 3)] * 3)
STORES = st.sampled_from(["graph driver", "containerd"])


@given(STORES, DEVICES, DEVICES, st.integers(1, 100))
def test_disks_of_their_own_never_need_more_together_than_one_disk_needs_at_most(
    store: str, one: tuple[int, int, int], other: tuple[int, int, int], size: int
) -> None:
    spread = sums({"spark1": docker(store, one), "spark2": docker(store, other)}, base_bytes=size * GB)
    together = sums({name: docker(store) for name in PAIR}, base_bytes=size * GB)
    for name, disks in spread.items():
        assert max(disks.values()) <= together[name][1] <= sum(disks.values()) + 1e-6
