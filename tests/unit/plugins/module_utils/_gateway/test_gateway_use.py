# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host tells of its gateways: the last hour by client, why it does not tell, and nothing where there is none."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from typing import Any, Sequence

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import log, use

NOW = 1_800_000_000.0
LINE = {
    **{"at": NOW - 10, "client": "alice", "status": 200, "model": "a/b", "prompt_tokens": "7", "tokens": "30"},
    **{"events": "31", "ttft_ms": "12", "ms": 900, "end": "--"},
}
#: what it puts before each message
HEAD = "1796083303.740713 spark1 dgx-spark-gateway[3871]: "
#: what journalctl 257 says to a user that may read no line but his own
HINT = (
    "Hint: You are currently not seeing messages from other users and the system.\n"
    "      Users in groups 'adm', 'systemd-journal' can see all messages.\n      Pass -q to turn off this notice.\n"
)
NO_JOURNAL = "No journal files were opened due to insufficient permissions.\n"


class Ran:
    """Programs, and what one of them answers."""

    def __init__(self, status: int = 0, out: str = "", errors: str = "") -> None:
        self.answer, self.asked = (status, out, errors), []  # type: ignore[var-annotated]

    def __call__(self, argv: Sequence[str]) -> tuple[int, str, str]:
        self.asked.append(list(argv))
        return self.answer


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A host with a gateway without a name, and one of the instance vlm."""
    for name, bind in {"gateway": "0.0.0.0:443 ssl crt /x", "gateway-vlm": "[::1]:8443"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "haproxy.cfg").write_text(f"frontend api\n    bind {bind}\n")
    return tmp_path


def test_examples() -> None:
    assert doctest.testmod(use).failed == 0


def test_where_no_gateway_is_nothing_is_run(tmp_path: Path) -> None:
    ran = Ran()
    assert use.gateways(ran, NOW, tmp_path) == []
    assert ran.asked == []


def test_each_gateway_tells_the_last_hour_by_client(etc: Path) -> None:
    old = json.dumps({**LINE, "client": "bob", "at": NOW - 7200})
    lines = [json.dumps(LINE), old, "[NOTICE]   (3871) : Loading success."]
    ran = Ran(out="-- Boot 6f --\n" + "".join(f"{HEAD}{line}\n" for line in lines))
    found = use.gateways(ran, NOW, etc)
    assert [(one["name"], one["instance"], one["listens"]) for one in found] == [
        ("dgx-spark-gateway", "", "0.0.0.0:443"),
        ("dgx-spark-gateway-vlm", "vlm", "[::1]:8443"),
    ]
    assert [set(one["clients"]) for one in found] == [{"alice"}, {"alice"}]
    assert found[0]["clients"]["alice"]["tokens"] == 30
    assert all(one["all"] and not one["problem"] for one in found)
    assert ran.asked[1][:3] == ["journalctl", "--unit", "dgx-spark-gateway-vlm.service"]
    assert f"@{int(NOW - 3600)}" in ran.asked[0]
    assert not {"--quiet", "cat"} & set(ran.asked[0]), "journalctl would hide that it hides lines"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((0, "", HINT), "this user may not read the journal"),
        ((1, "", NO_JOURNAL), "this user may not read the journal"),
        ((127, "", ""), "there is no journalctl"),
        ((1, "", "Failed to open files: Bad message"), "exit status 1"),
    ],
)
def test_a_journal_that_was_not_read_is_no_hour_without_requests(etc: Path, answer: Any, says: str) -> None:
    for one in use.gateways(Ran(*answer), NOW, etc):
        assert (one["clients"], one["all"]) == (None, False)
        assert says in one["problem"]


def test_of_more_requests_than_are_read_it_is_told(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "LINES", 2)
    (one, _other) = use.gateways(Ran(out=f"{HEAD}{json.dumps(LINE)}\n" * 2), NOW, etc)
    assert (one["all"], one["clients"]["alice"]["requests"]) == (False, 2)
