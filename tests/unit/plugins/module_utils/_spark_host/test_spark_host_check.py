# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is checked of a host, with programs that answer as a test has them."""

from __future__ import annotations

from typing import Sequence

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host import check

STATE = {"fail2ban.service": {"active": "active", "barred": False, "started": 0.0}}


class Client:
    """SIMULATED: fail2ban-client, whose server does not answer at first."""

    def __init__(self, silent: int) -> None:
        self.silent = silent

    def __call__(self, argv: Sequence[str]) -> tuple[int, str]:
        self.silent -= 1
        return (255, "Failed to access socket path") if self.silent >= 0 else (0, "iptables-multiport\n")


def test_a_server_that_has_just_been_restarted_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check.time, "sleep", lambda _seconds: None)
    assert "is on" in check.bans(Client(3), STATE, "iptables-multiport", try_ban=False)


def test_a_server_that_never_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "BAN_SECONDS", 0.0)
    with pytest.raises(check.CheckError, match="no jail sshd: Failed to access socket"):
        check.bans(Client(10**6), STATE, "iptables-multiport", try_ban=False)
