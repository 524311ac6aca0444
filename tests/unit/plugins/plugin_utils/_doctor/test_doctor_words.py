# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shown: the worst first, with host, what was seen, why it matters and the mend; and what a mend has ended."""

from __future__ import annotations

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor import judge, words
from doctor_cases import MEMBERS, NOW, damaged, pair

WORSE = {"spark1.read.netplan.0.mode": "0644", "spark2.read.memory.available_mib": 10}


def test_two_sound_sparks_in_one_line() -> None:
    shown = words.blocks(judge.judge(pair(), MEMBERS), MEMBERS)
    assert [block.lines for block in shown] == [[f"DOCTOR: 2 Sparks, {len(judge.load())} checks: nothing was found"]]


def test_a_finding_has_host_seen_why_and_mend() -> None:
    shown = words.blocks(judge.judge(damaged(WORSE), MEMBERS), MEMBERS)
    assert [block.severity for block in shown] == ["", "serious", "warning"]
    assert "1 serious, 1 warning" in shown[0].lines[0]
    first = shown[1].lines
    assert first[0] == "SERIOUS  spark2: Little memory is left (memory_low; you decide)"
    assert [line[:7] for line in first[1:] if line[2] != " "] == ["  seen ", "  why  ", "  mend "]
    assert shown[2].lines[0].endswith("(netplan_readable; can be mended here, -e doctor_treat=netplan_readable)")
    assert all(len(line) <= words.WIDTH for block in shown for line in block.lines)


def test_of_a_single_spark_no_name_is_told() -> None:
    told = damaged({"spark1.read.dpkg.interrupted": True})
    shown = words.blocks(judge.judge({"spark1": told["spark1"]}, ["spark1"]), ["spark1"])
    assert next(block.lines[0] for block in shown if block.severity).startswith("WARNING  An installation")


def test_what_was_not_looked_at_is_told_with_its_why() -> None:
    told = pair()
    del told["spark2"]["read"]["clock"]
    told["spark2"]["unread"]["clock"] = "timedatectl does not tell"
    shown = words.blocks(judge.judge(told, MEMBERS), MEMBERS)
    assert shown[-1].lines == ["NOT LOOKED AT", "  spark2: clock_unsynchronised: timedatectl does not tell"]
    assert "1 of them could not be made everywhere" in shown[0].lines[0]


def test_what_is_gone_after_a_mend_is_told_and_what_nobody_looked_at_is_not() -> None:
    before = judge.judge(damaged(WORSE), MEMBERS).findings
    after = pair()
    del after["spark2"]["read"]["memory"]
    report = judge.judge(after, MEMBERS)
    assert words.mended(before, report) == ["netplan_readable on spark1"]
    shown = words.blocks(report, MEMBERS, before)
    assert ["MENDED", "  netplan_readable on spark1"] in [block.lines for block in shown]


def test_a_document_for_programs() -> None:
    report = judge.judge(damaged(WORSE), MEMBERS)
    document = words.document(report, MEMBERS, NOW, judge.failing(report, "serious"))
    assert (document["schema"], document["exit_status"], document["members"]) == (1, 2, list(MEMBERS))
    assert document["checks"] == len(judge.load())
    assert {"check", "title", "hosts", "severity", "class", "seen", "why", "mend", "treatable", "preflight"} <= set(
        document["findings"][0]
    )
    assert words.document(report, MEMBERS, NOW, [])["exit_status"] == 0
