# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a play says of a build that has ended."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action import image_build_follow

STATE = {"title": "Build the image", "status": 2}


@pytest.mark.parametrize(
    ("outcome", "state", "said"),
    [
        ("failed", STATE, "has failed in the stage 'Build the image' with status 2: mend"),
        ("interrupted", STATE, "was ended from outside in the stage 'Build the image'"),
        ("", {}, "was ended from outside in its first stage"),
    ],
)
def test_an_end_without_an_image_is_a_failure_with_its_mend(outcome: str, state: dict[str, Any], said: str) -> None:
    found = {"outcome": outcome, "state": state, "log": [f"line {number}" for number in range(30)]}
    told = image_build_follow.ended("spark1", "/var/lib/dgx-spark/build", found)
    assert told["failed"]
    assert told["msg"].startswith("spark1: the build ")
    assert said in told["msg"]
    assert "run the playbook again" in told["msg"]
    assert told["msg"].endswith("line 28 | line 29")


def test_a_good_end() -> None:
    told = image_build_follow.ended("spark1", "/x", {"outcome": "done", "state": STATE, "log": []})
    assert told == {"changed": True, "state": STATE}
