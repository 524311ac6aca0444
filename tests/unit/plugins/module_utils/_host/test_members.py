# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The members are checked once, in words that tell what to change."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.members import MembersError, check

PAIR: dict[str, Any] = {
    "members": ["spark1", "spark2"],
    "option": "swarm_gpu_members",
    "host": "spark1",
    "play_hosts": ["spark1", "spark2"],
    "alive": ["spark1", "spark2"],
    "addresses": {"spark1": "192.168.1.21", "spark2": "192.168.1.22"},
    "forks": 5,
}


def test_the_first_leads() -> None:
    assert check(**PAIR) == {"leader": "spark1", "workers": ["spark2"], "rank": 0, "is_leader": True}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"members": []}, "swarm_gpu_members is empty"),
        ({"members": ["spark1", "spark2", "spark2"]}, "names spark2 more than once"),
        ({"host": "spark9"}, "spark9 runs this play and is not one of swarm_gpu_members (spark1, spark2)"),
        ({"play_hosts": ["spark1"]}, "spark2 of swarm_gpu_members (spark1, spark2) is not in this play"),
        ({"alive": ["spark1"]}, "spark2 of swarm_gpu_members (spark1, spark2) failed earlier"),
        ({"addresses": {"spark1": "10.0.0.1", "spark2": "10.0.0.1"}}, "spark1 and spark2 have the same management"),
        ({"forks": 1}, "2 Sparks must be asked at the same time, and Ansible asks 1: add --forks 2"),
    ],
)
def test_refuses(change: dict[str, Any], words: str) -> None:
    with pytest.raises(MembersError, match="Nothing was changed") as caught:
        check(**{**PAIR, **change})
    assert words in str(caught.value)
