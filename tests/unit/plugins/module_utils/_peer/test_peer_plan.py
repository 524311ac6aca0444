# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned for a copy of files."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.plan import PeerPlanError, plan

HAS: dict[str, Any] = {
    "directory": "/d",
    "problems": {},
    "needed_bytes": 0,
    "free_bytes": 10**11,
    "left_behind": {"key": False, "authorized_key": False},
}
LACKS = {**HAS, "problems": {"b": "is missing", "a": "has 1 bytes instead of 2"}, "needed_bytes": 3_000_000_000}


def test_copies_what_is_missing() -> None:
    assert plan("x", 20, {"spark1": HAS, "spark2": HAS}) == {"spark1": [], "spark2": []}
    changes = plan("x", 20, {"spark1": HAS, "spark2": LACKS})
    assert changes["spark1"] == []
    assert changes["spark2"] == [
        {
            "name": "Copy the files from the leader",
            "diff": {
                "before": "a: has 1 bytes instead of 2\nb: is missing\n",
                "after": "Copy x from spark1 (2 files, 3.00 GB)\n",
            },
        }
    ]


def test_what_an_interrupted_copy_left_is_a_change_unless_a_copy_comes() -> None:
    left = {**HAS, "left_behind": {"key": True, "authorized_key": False}}
    right = {**HAS, "left_behind": {"key": False, "authorized_key": True}}
    assert plan("x", 20, {"spark1": right, "spark2": left}) == {
        "spark1": [{"name": "Remove the authorized keys from the leader"}],
        "spark2": [{"name": "Remove the key from the receivers"}],
    }
    assert plan("x", 20, {"spark1": right, "spark2": left, "spark3": LACKS})["spark2"] == []


def test_refuses_what_cannot_be_copied() -> None:
    with pytest.raises(PeerPlanError, match=r"spark1 has not all files of x in /d: a: has 1 .*\. Nothing was changed"):
        plan("x", 20, {"spark1": LACKS, "spark2": LACKS})
    full = {**LACKS, "free_bytes": 22_900_000_000}
    with pytest.raises(PeerPlanError, match=r"spark2: x needs 3\.00 GB more in /d and 20 GB .* but 22\.90 GB are free"):
        plan("x", 20, {"spark1": HAS, "spark2": full})
    assert plan("x", 19, {"spark1": HAS, "spark2": full})["spark2"]
