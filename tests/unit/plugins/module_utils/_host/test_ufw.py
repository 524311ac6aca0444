# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From any rules to the wanted ones, without a trace on anybody else's."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ufw import (
    LOST,
    Line,
    Steps,
    UfwError,
    absent,
    after,
    enabled,
    parse,
    place,
    spread,
    steps,
    told,
    write,
)
from hypothesis import given
from hypothesis import strategies as st

US = "DGX Spark fabric"
FABRIC = "192.168.100.0/24"
# As ufw 0.36.2 lists them.
SHOWN = f"""Added user rules (see 'ufw status' for running firewall):
ufw allow in on enp1s0f0np0 from {FABRIC} comment '{US}'
ufw deny to {FABRIC} comment '{US}'
ufw allow 22/tcp
ufw allow from 192.168.1.22 to any port 2377 proto tcp comment 'DGX Spark Swarm'
ufw limit log 23/tcp comment 'a comment, so to speak'
ufw route allow in on eth1 out on eth2 to 12.34.45.67 port 80 proto tcp
"""


def take(there: list[Line], todo: Steps, *, first: bool) -> list[Line]:
    """What ufw does with the module's commands: it keeps one rule for the same packets, and deletes by comment."""
    rules = [line for line in there if not (line.comment in (US, US + LOST) and line.rule in todo.removed)]
    rules = [Line(line.rule, US) if line.rule in todo.marked else line for line in rules]
    for rule in reversed(todo.added) if first else todo.added:
        assert rule.split()[1:] not in [line.rule.split()[1:] for line in rules], "ufw would change that one"
        rules.insert(0 if first else len(rules), Line(rule, US))
    return rules


@pytest.mark.parametrize(
    ("conf", "on"),
    [
        ("ENABLED=yes", True),
        ("#ENABLED=yes\nENABLED=no", False),
        ("", False),
        # As ufw 0.36.2 reads it (backend.py, _get_defaults), and the shell at boot.
        ('ENABLED="yes"', True),
        ("ENABLED='yes'", True),
        ("ENABLED=YES\nLOGLEVEL=low", True),
        ("ENABLED=yes \t", True),
        ("ENABLED=yes  # since the move", True),
        (" ENABLED=yes", True),
        ("export ENABLED=yes", True),
        ('ENABLED="no"', False),
        ('ENABLED=""', False),
        ("ENABLED=", False),
        ("ENABLED=yesterday", False),
        ("NOT_ENABLED=yes", False),
        ("ENABLED=yes\nENABLED=no", False),
        ("ENABLED=no\nENABLED=yes", True),
        ("ENABLED=yes\r\n", True),
    ],
)
def test_tells_whether_it_is_on(conf: str, on: bool) -> None:
    assert enabled(conf) is on


def test_reads_what_ufw_lists() -> None:
    lines = parse(SHOWN)
    assert [line.comment for line in lines] == [US, US, "", "DGX Spark Swarm", "a comment, so to speak", ""]
    assert lines[2].rule == "allow 22/tcp"
    assert lines[5].rule == "route allow in on eth1 out on eth2 to 12.34.45.67 port 80 proto tcp"
    assert parse("Added user rules (see 'ufw status' for running firewall):\n(None)\n") == []


def test_writes_as_ufw_lists() -> None:
    ports = {"from_ip": ["192.168.1.22"], "to_ip": ["any"], "to_port": [2377], "proto": "tcp"}
    wishes: list[dict[str, Any]] = [
        {"rule": "allow", "interface_in": "enp1s0f0np0", "from_ip": ["192.168.100.7/24"], "to_ip": ["any"]},
        {"rule": "deny", "from_ip": ["any"], "to_ip": [FABRIC]},
        {"rule": "allow", "from_ip": ["any"], "to_ip": ["any"], "to_port": [22], "proto": "tcp"},
        {"rule": "allow", **ports},
    ]
    written = [rule for wish in wishes for rule in spread(wish)]
    assert written == [line.rule for line in parse(SHOWN)[:4]]
    both = {"rule": "allow", "from_ip": ["10.0.0.1", "10.0.0.2"], "to_ip": ["any"], "to_port": [1, 2], "proto": "udp"}
    assert len(spread(both)) == 4
    assert spread({**both, "from_ip": []}) == []
    assert spread({"rule": "deny", "from_ip": ["any"], "to_ip": ["any"]}) == ["deny to any"]


@pytest.mark.parametrize(
    ("text", "words"), [("spark2", "no address"), ("0.0.0.0/0", "write any"), ("::/0", "write any"), ("", "no address")]
)
def test_refuses_a_place_that_ufw_would_list_otherwise(text: str, words: str) -> None:
    with pytest.raises(UfwError, match=words):
        place(text)


@pytest.mark.parametrize(
    ("theirs", "wanted", "first"),
    [
        ("deny 8355/tcp", "allow 8355/tcp", False),
        ("allow log 8355/tcp", "deny 8355/tcp", False),
        ("limit log 8355/tcp", "allow 8355/tcp", False),
        ("allow log 8355/tcp", "allow 8355/tcp", True),
        (f"allow to {FABRIC}", f"deny to {FABRIC}", True),
        (f"deny to {FABRIC}", f"deny to {FABRIC}", True),
    ],
)
def test_takes_over_no_rule_of_somebody_else_s(theirs: str, wanted: str, first: bool) -> None:
    with pytest.raises(UfwError, match=f"ufw delete {theirs}"):
        steps([Line(theirs, "")], [wanted], US, first=first)


def test_somebody_else_s_rule_will_do() -> None:
    assert steps([Line("allow 8355/tcp", "mine")], ["allow 8355/tcp"], US) == Steps([], [], [])


@pytest.mark.parametrize("log", ["log", "log-all"])
def test_somebody_else_s_rule_that_logs_will_do(log: str) -> None:
    rest = "from 192.168.1.22 to any port 2377 proto tcp"
    there = [Line(f"allow {log} {rest}", "")]
    assert steps(there, [f"allow {rest}"], US) == Steps([], [], [])
    assert steps(there, [f"allow {rest}", "allow 1"], US) == Steps([], ["allow 1"], [])
    assert steps([Line(f"deny in on a {log} to 10.0.0.0/8", "")], ["deny in on a to 10.0.0.0/8"], US).added == []


PEER = "allow from 192.168.1.22 to any port 2377 proto tcp"


@pytest.mark.parametrize(
    "deny",
    [
        "deny 2377/tcp",
        "deny 2377",
        "reject 2377/tcp",
        "deny log 2377/tcp",
        "deny 22,2377/tcp",
        "deny 2000:3000/tcp",
        "deny 22,2000:3000/tcp",
        "deny from 192.168.1.0/24",
        "deny from 192.168.1.22",
        "deny from 192.168.1.22 to any port 2377",
        "deny from 192.168.0.0/16 to any port 2377,7946 proto tcp",
        "deny log-all from 192.168.1.0/24 to any proto tcp",
        "deny to any port 2377 proto tcp",
        "deny to any",
        "deny in 2377/tcp",
    ],
)
def test_a_broader_deny_in_front_is_named(deny: str) -> None:
    ssh = Line("allow 22/tcp", "")
    for there in (
        [ssh, Line(deny, "mine")],
        [Line(deny, ""), Line(PEER, US)],  # as an earlier version left it
        [Line(deny, ""), Line(PEER, US + LOST)],
        [Line(deny, ""), Line(PEER, "")],
    ):
        with pytest.raises(UfwError, match="Nothing was changed") as refusal:
            steps(there, [PEER], US)
        assert f"'{deny}' of another owner before '{PEER}'" in str(refusal.value)
        assert f"ufw delete {deny}" in str(refusal.value)
    # Behind ours, or not in ours' way any more, it may stay.
    assert steps([Line(PEER, US), Line(deny, "")], [PEER], US) == Steps([], [], [])
    assert steps([Line(deny, "")], [PEER], US, first=True).added == [PEER]
    assert steps([Line(deny, ""), Line(PEER, US)], [], US).removed == [PEER]
    if deny != "deny from 192.168.1.22":
        assert steps([Line("allow from 192.168.1.22", ""), Line(deny, "")], [PEER], US).added == [PEER]


@pytest.mark.parametrize(
    "other",
    [
        "deny 2377/udp",
        "deny 2378/tcp",
        "deny 2378:3000/tcp",
        "deny 22,80/tcp",
        "deny from 192.168.2.0/24",
        "deny from fd00::/8",
        "deny from 192.168.1.22 port 53 to any port 2377 proto tcp",
        "deny from 192.168.1.23 to any port 2377 proto tcp",
        "deny to 192.168.100.0/24",  # the fabric's own
        "deny in on eth7",
        "deny in on eth7 to any port 2377 proto tcp",
        "deny out 2377/tcp",
        "deny out on eth0",
        "deny out to any",
        "route deny to any port 2377 proto tcp",
        "route deny in on eth0 out on eth1",
        "deny OpenSSH",
        "deny from 192.168.1.22 to any app 'A Service'",
        "deny to any proto esp",
        "allow 2377/tcp",
        "limit 2377/tcp",
        "deny",
        "deny from",
        "deny from nowhere to any",
        "deny a/b/c",
    ],
)
def test_other_rules_in_front_are_not_in_the_way(other: str) -> None:
    assert steps([Line(other, "")], [PEER], US) == Steps([], [PEER], [])


def test_an_open_port_may_be_closed_to_some() -> None:
    there = [Line("deny from 10.0.0.0/8 to any port 8355 proto tcp", ""), Line("deny in on eth1", "")]
    assert steps(there, ["allow 8355/tcp"], US).added == ["allow 8355/tcp"]
    with pytest.raises(UfwError, match="ufw delete deny 8355"):
        steps([Line("deny 8355", "")], ["allow 8355/tcp"], US)


def test_comes_before_the_rules_that_were_there_before() -> None:
    allow, deny, ssh = f"allow in on a from {FABRIC}", f"deny to {FABRIC}", Line("allow 22/tcp", "")
    # As an earlier version left it, and as somebody's own "ufw prepend" does.
    assert steps([ssh, Line(allow, US)], [allow, deny], US, first=True) == Steps([allow], [allow, deny], [])
    there = [ssh, Line(allow, US), Line(deny, US)]
    assert steps(there, [allow, deny], US, first=True) == Steps([allow, deny], [allow, deny], [])
    # One link more: what stands right stays.
    there = [Line(deny, US), ssh]
    todo = steps(there, [allow, deny], US, first=True)
    assert todo == Steps([], [allow], [])
    assert after(there, todo, US, first=True) == [allow, deny]


def test_deletes_what_is_named_and_ours() -> None:
    there = [Line("allow 1", US), Line("allow 2", US), Line("allow 3", "")]
    assert absent(there, ["allow 1", "allow 3", "allow 4"], US) == Steps(["allow 1"], [])


OURS = st.lists(st.sampled_from([f"{verb} {port}" for verb in ("allow", "deny") for port in range(5)]), max_size=6)
THEIRS = st.lists(st.integers(3, 9), unique=True, max_size=4)


@given(st.data(), THEIRS, OURS, st.booleans())
def test_gets_there_at_once_and_leaves_the_rest(
    data: st.DataObject, theirs: list[int], wanted: list[str], first: bool
) -> None:
    one_each = {rule.split()[1]: rule for rule in wanted}
    wanted = list(one_each.values())
    before = [Line(f"allow {port}", "") for port in theirs]
    held = {str(port) for port in theirs}
    for rule in data.draw(OURS):
        if rule.split()[1] not in held:
            held.add(rule.split()[1])
            comment = US + data.draw(st.sampled_from(["", LOST]))
            before.insert(data.draw(st.integers(0, len(before))), Line(rule, comment))
    try:
        todo = steps(before, wanted, US, first=first)
    except UfwError:
        assert {str(port) for port in theirs} & set(one_each)
        return
    then = take(before, todo, first=first)
    foreign = [line for line in before if line.comment not in (US, US + LOST)]
    ours = [line.rule for line in then if line.comment == US]
    assert [line for line in then if line.comment != US] == foreign
    assert ours == after(before, todo, US, first=first)
    assert sorted(ours) == sorted(rule for rule in wanted if Line(rule, "") not in foreign)
    if first:
        assert then == [*(Line(rule, US) for rule in wanted), *foreign]
    assert steps(then, wanted, US, first=first) == Steps([], [], [])
    assert take(then, steps(then, [], US, first=first), first=first) == foreign


PLACES = st.sampled_from(["any", "10.0.0.2", "192.168.100.0/24", "fd00::1"])


@given(
    st.sampled_from(["allow", "deny"]),
    st.sampled_from(["", "enp1s0f0np0"]),
    PLACES,
    PLACES,
    st.sampled_from([0, 22, 8355]),
    st.sampled_from(["", "tcp", "udp"]),
)
def test_what_is_written_is_told_again(rule: str, netdev: str, source: str, target: str, port: int, proto: str) -> None:
    text = write(rule, netdev, source, target, port, proto)
    assert spread(told(text)) == [text]


@pytest.mark.parametrize("text", ["limit 22/tcp", "allow out to any", "route allow in on eth1", "", "allow"])
def test_what_is_not_written_here_is_not_told(text: str) -> None:
    assert told(text) in ({}, {"rule": "allow", "from_ip": ["any"], "to_ip": ["any"]})
