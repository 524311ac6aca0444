# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a rank from RDMA."""

from __future__ import annotations

import pytest
from supervisor import rdma


@pytest.mark.parametrize(
    ("memlock", "least", "enough"),
    [
        (-1, -1, True),
        (-1, 65536, True),
        (65536, 65536, True),
        (65535, 65536, False),
        (1 << 40, -1, False),
        (0, 0, True),
    ],
)
def test_how_much_memory_may_be_locked(memlock: int, least: int, enough: bool) -> None:
    found = rdma.obstacles(True, {"rocep1s0f0"}, ["rocep1s0f0"], memlock, least)
    assert (found == []) == enough
