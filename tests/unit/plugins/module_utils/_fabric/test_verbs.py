# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Device nodes are compared with the kernel's, each planned RoCE device's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric import verbs

A, B = "rocep1s0f0", "roceP2p1s0f0"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two RoCE devices; /dev/null and /dev/zero stand for device nodes that can be opened."""
    for index, (device, number, node) in enumerate([(A, "1:3", "/dev/null"), (B, "1:5", "/dev/zero")]):
        place = tmp_path / "class/infiniband_verbs" / f"uverbs{index}"
        place.mkdir(parents=True)
        (place / "ibdev").write_text(f"{device}\n")
        (place / "dev").write_text(f"{number}\n")
        (tmp_path / "class/infiniband" / device).mkdir(parents=True)
        (tmp_path / "infiniband").mkdir(exist_ok=True)
        (tmp_path / "infiniband" / f"uverbs{index}").symlink_to(node)
    (tmp_path / "infiniband" / "rdma_cm").symlink_to("/dev/null")
    monkeypatch.setattr(verbs, "SYS", tmp_path)
    monkeypatch.setattr(verbs, "DEV", tmp_path)
    return tmp_path


def test_devices_that_can_be_used(machine: Path) -> None:
    assert verbs.condition([A, B], True) == verbs.Condition("", stale=False)
    assert verbs.condition([], True) == verbs.Condition("", stale=False)
    assert verbs.of_kernel(machine) == {A: ("uverbs0", "1:3"), B: ("uverbs1", "1:5")}


def test_rdma_cm_alone_is_not_enough(machine: Path) -> None:
    for index in range(2):
        (machine / "infiniband" / f"uverbs{index}").unlink()
    found = verbs.condition([A], True)
    assert found == verbs.Condition(f"/dev/infiniband/uverbs0 is not there, of which {A} needs uverbs0", stale=True)


def test_one_of_two_that_is_missing_is_named_alone(machine: Path) -> None:
    (machine / "infiniband" / "uverbs1").unlink()
    assert verbs.condition([A], True).words == ""
    assert verbs.condition([A, B], True).words == f"/dev/infiniband/uverbs1 is not there, of which {B} needs uverbs1"


def test_no_directory_at_all_is_told(machine: Path) -> None:
    (machine / "infiniband").rename(machine / "away")
    assert verbs.condition([A], True).words.startswith("/dev/infiniband is not there")


def test_a_node_with_the_number_of_a_card_that_is_gone_is_stale(machine: Path) -> None:
    (machine / "class/infiniband_verbs/uverbs0/dev").write_text("1:7\n")
    found = verbs.condition([A, B], False)
    assert found.stale
    assert found.words == f"/dev/infiniband/uverbs0 has the device number 1:3, and the kernel's {A} has 1:7 now"


def test_a_file_is_no_device_node(machine: Path) -> None:
    node = machine / "infiniband" / "uverbs0"
    node.unlink()
    node.touch()
    assert verbs.condition([A], True).stale


def test_a_node_that_may_not_be_opened(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "open", refuse)
    assert verbs.condition([A], False).words == ""
    found = verbs.condition([A], True)
    assert found == verbs.Condition(
        f"/dev/infiniband/uverbs0 of {A} cannot be opened: Operation not permitted", stale=True
    )


def test_a_device_that_the_kernel_has_not_is_no_fault_of_the_nodes(machine: Path) -> None:
    found = verbs.condition(["mlx5_0", A], True)
    assert found == verbs.Condition(f"there is no RoCE device mlx5_0 (there is {B}, {A})", stale=False)


def test_a_kernel_without_ib_uverbs(machine: Path) -> None:
    (machine / "class/infiniband_verbs").rename(machine / "away")
    found = verbs.condition([A], True)
    assert (found.stale, "ib_uverbs is not loaded" in found.words) == (False, True)
