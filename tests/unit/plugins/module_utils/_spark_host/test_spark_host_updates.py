# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What apt and fwupdmgr say of updates, and what a host has configured to serve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import damaged
import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host import updates
from hypothesis import given
from hypothesis import strategies as st

# As apt 3.0 prints it.
SIMULATION = """Reading package lists...
The following packages will be REMOVED:
  docker.io
Remv docker.io [26.1.5]
Inst libc6 [2.41-12] (2.41-13 Debian:13.2/stable [arm64]) [libc-bin:arm64 ]
Inst linux-image-6.14.0-1015-nvidia (6.14.0-1015.15 Ubuntu:24.04/noble-updates [arm64])
Conf libc6 (2.41-13 Debian:13.2/stable [arm64])
"""


def test_upgrades_and_removals() -> None:
    assert updates.upgrades(SIMULATION) == [
        "libc6 2.41-12 -> 2.41-13",
        "linux-image-6.14.0-1015-nvidia (new) 6.14.0-1015.15",
    ]
    assert updates.removals(SIMULATION) == ["docker.io"]
    assert updates.needed(["docker.io", "libx", "nvidia-driver-580"]) == ["docker.io", "nvidia-driver-580"]


GOOD = {"Devices": [{"Name": "UEFI", "Version": "1", "Releases": [{"Version": "2"}]}, {"Name": "NIC", "Releases": []}]}


def test_firmware() -> None:
    assert updates.firmware(json.dumps(GOOD)) == ["UEFI 1 -> 2"]
    assert updates.firmware("No updatable devices\n") == []


@given(st.one_of(damaged.values(GOOD).map(json.dumps), damaged.texts(json.dumps(GOOD))))
def test_firmware_of_any_form_is_taken(said: str) -> None:
    assert all(isinstance(one, str) for one in updates.firmware(said))


@pytest.mark.parametrize("folder", ["trtllm", "trtllm-vlm"])
def test_servings(tmp_path: Path, folder: str) -> None:
    etc, lib = tmp_path / "etc", tmp_path / "lib"
    cluster: dict[str, Any] = {"engine": {"name": "trtllm"}, "nodes": [{"name": "spark1"}, {"name": "spark2"}]}
    for where, name, value in (
        (etc, "cluster.json", cluster),
        (lib, "state.json", {"phase": "stopped", "reason": "stopped by stop.yml"}),
    ):
        (where / folder).mkdir(parents=True)
        (where / folder / name).write_text(json.dumps(value))
    (etc / "gateway").mkdir()
    instance = folder.removeprefix("trtllm").removeprefix("-")
    assert updates.servings(str(etc), str(lib)) == [
        {"engine": "trtllm", "instance": instance, "members": ["spark1", "spark2"], "stopped": True}
    ]
    (lib / folder / "state.json").write_text("{")
    (etc / folder / "cluster.json").write_text("[]")
    assert updates.servings(str(etc), str(lib))[0]["stopped"] is False


def test_a_host_that_serves_nothing(tmp_path: Path) -> None:
    assert updates.servings(str(tmp_path / "none"), str(tmp_path)) == []
