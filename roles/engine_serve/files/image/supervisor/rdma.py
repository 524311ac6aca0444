# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this container lets a rank use RDMA."""

from __future__ import annotations

import resource
from pathlib import Path


def obstacles(nodes: bool, devices: set[str], wanted: list[str], memlock: int, least: int) -> list[str]:
    """Why a rank cannot use RDMA, as far as its container shows, each with its mend; none where it can.

    :param nodes: whether /dev/infiniband is there. :param devices: the RoCE devices of the kernel.
    :param wanted: those in ``NCCL_IB_HCA``. :param memlock: bytes that may be locked, -1 for any number.
    :param least: bytes that it has to be, -1 for any number.

    >>> obstacles(True, {"rocep1s0f0"}, ["rocep1s0f0"], -1, -1)
    []
    >>> obstacles(True, {"rocep1s0f0"}, ["mlx5_0"], -1, -1)
    ['there is no RoCE device mlx5_0 (there is rocep1s0f0): plan the fabric anew, by running the play again']
    """
    found = []
    if not nodes:
        found.append(
            "its container has no /dev/infiniband: check that the host has it, "
            "and that NVIDIA's runtime is its Docker's default"
        )
    missing = [name for name in wanted if name not in devices]
    if missing:
        found.append(
            f"there is no RoCE device {' or '.join(missing)} (there is {', '.join(sorted(devices)) or 'none'}): "
            "plan the fabric anew, by running the play again"
        )
    if memlock != -1 and not 0 <= least <= memlock:
        found.append(f"it may lock {memlock} bytes of memory: check that nothing lowers its memlock (ulimits)")
    return found


def own_obstacles(wanted: str, memlock_bytes: int) -> list[str]:
    """The obstacles of this container. :param wanted: devices as ``NCCL_IB_HCA`` lists them, empty for none."""
    if not wanted:
        return []
    devices = {path.name for path in Path("/sys/class/infiniband").glob("*")}
    memlock = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return obstacles(Path("/dev/infiniband").is_dir(), devices, wanted.split(","), memlock, memlock_bytes)
