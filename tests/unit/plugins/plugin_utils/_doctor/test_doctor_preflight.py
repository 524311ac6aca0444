# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ready, ready but slow, or blocked: and never ready for what could not be looked at."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor import judge, preflight
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.checks import load
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.preflight import (
    IS_BLOCKED,
    READY,
    READY_BUT_SLOW,
    Move,
)
from doctor_cases import MEMBERS, damaged, pair

MODEL = Move("spark2", "lab/tiny", 134_200_000_000, "copy")


def of(changes: dict[str, Any], *moves: Move, **refusals: list[str]) -> preflight.Answer:
    return preflight.answer(judge.judge(damaged(changes), MEMBERS), moves, refusals)


@pytest.mark.parametrize(
    ("changes", "moves", "answer"),
    [
        ({}, [], READY),
        ({}, [Move("spark1", "x", 0, "pull")], READY),
        ({}, [MODEL], READY_BUT_SLOW),
        ({"spark1.read.dpkg.locked": True}, [], READY_BUT_SLOW),
        ({"spark1.read.links.0.speed_mbps": 100000}, [], READY_BUT_SLOW),
        ({"spark1.read.host.hostname": "spark2"}, [MODEL], IS_BLOCKED),
        ({"spark1.read.memory.available_mib": 10}, [], IS_BLOCKED),
        ({"spark2": {"why": "timed out"}}, [], IS_BLOCKED),
        ({"spark1.read.netplan.0.mode": "0644"}, [], READY),  # a finding that says nothing of serving
        ({"spark1.read.netplan.0.path": "/etc/netplan/99-nvidia-sync-cluster.yaml"}, [], READY),  # the role adopts it
        (
            {"spark1.read.ports.1.addresses": ["10.0.0.1"], "spark1.read.ports.1.containers": []},
            [],
            READY,
        ),  # a plan says
    ],
)
def test_the_answer(changes: dict[str, Any], moves: list[Move], answer: str) -> None:
    assert of(changes, *moves).answer == answer


def test_a_refusal_of_a_plan_blocks() -> None:
    found = of({}, spark1=["the cable is out"])
    assert (found.answer, found.lines[0].host, found.lines[0].seen) == (IS_BLOCKED, "spark1", "the cable is out")


def test_a_plan_that_is_refused_everywhere_is_one_line() -> None:
    words = "The cable is out. Nothing was changed."
    found = of({}, spark1=[words], spark2=[words, "no room"])
    assert [(line.host, line.seen) for line in found.lines] == [
        ("spark1, spark2", "The cable is out."),
        ("spark2", "no room"),
    ]


def test_what_the_plans_bring() -> None:
    comes = {"what": "lab/tiny", "bytes": 10**9, "way": "download"}
    model = {"moves": {"spark1": [comes], "spark2": [{**comes, "bytes": 2 * 10**9, "way": "copy"}], "spark3": []}}
    serve = {
        "moves": {
            "spark1": {"what": "nvcr.io/x:1", "bytes": 20 * 10**9, "way": "pull"},
            "spark2": {"what": "the engine's image", "bytes": 0, "way": "copy"},
        }
    }
    assert preflight.moves_of(MEMBERS, model, serve) == [
        Move("spark1", "lab/tiny", 10**9, "download"),
        Move("spark1", "nvcr.io/x:1", 20 * 10**9, "pull"),
        Move("spark2", "lab/tiny", 2 * 10**9, "copy"),
    ]
    assert preflight.moves_of(MEMBERS, {}, {}) == []
    assert preflight.moves_of(MEMBERS, {"moves": {"spark1": [{**comes, "bytes": 0}]}}, {}) == []
    pulled = preflight.in_words(of({}, *preflight.moves_of(MEMBERS, {}, serve)))
    assert pulled == [
        "ready but slow; 20.00 GB have to move",
        "  slow    spark1: nvcr.io/x:1: 20.00 GB to be pulled",
    ]


@pytest.mark.parametrize(
    ("repo", "model", "serve", "refused", "all_read", "kinds"),
    [
        ("lab/tiny", {"moves": {}}, {"changes": {}}, False, True, []),
        ("lab/tiny", {"failed": True}, {}, True, True, []),
        ("", {}, {}, False, True, ["told"]),
        ("lab/tiny", {"moves": {}}, {}, False, True, ["told"]),  # without root
        ("lab/tiny", {}, {}, False, True, ["blocked"]),  # a Spark was lost in the middle
        ("lab/tiny", {}, {}, False, False, ["told"]),  # which blocks by itself
    ],
)
def test_what_was_not_planned_is_no_plan(
    repo: str, model: Any, serve: Any, refused: bool, all_read: bool, kinds: list[str]
) -> None:
    lines = preflight.unplanned(repo, model, serve, refused, all_read)
    assert [line.kind for line in lines] == kinds
    assert preflight.answer(judge.judge(pair(), MEMBERS), more=lines).complete is (not kinds)


def test_what_was_not_looked_at_makes_no_answer_complete() -> None:
    told = pair()
    del told["spark1"]["read"]["memory"]
    found = preflight.answer(judge.judge(told, MEMBERS))
    assert (found.answer, found.complete) == (READY, False)
    assert any("memory_low" in line.seen for line in found.lines)
    assert "as far as could be looked at" in preflight.in_words(found)[0]
    assert preflight.answer(judge.judge(pair(), MEMBERS)).complete


@pytest.mark.parametrize(("wanted", "answer"), [(True, IS_BLOCKED), (False, READY)])
def test_to_look_without_root_blocks_where_root_was_wanted(wanted: bool, answer: str) -> None:
    """Without what processes do and the like, so that the answer is not complete either way."""
    told = damaged({"spark1.read.host.root": False, "spark1.unread": {"ranks": "run this with become"}})
    del told["spark1"]["read"]["ranks"]
    found = preflight.answer(judge.judge(told, MEMBERS), root_wanted=wanted)
    assert (found.answer, found.complete) == (answer, False)
    assert any(line.do.startswith("Give the password of sudo") for line in found.lines)


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"spark1.read.host.machine_id": "1" * 32}, "Two Sparks have one machine ID"),
        ({"spark1.read.reach": {"nvcr.io:443": "timed out"}}, "The hub or the registry cannot be reached"),
        ({"spark1.read.gpu.gpus.0.driver_version": "580.82.09"}, "The Sparks have different drivers"),
    ],
)
def test_what_is_good_to_know_is_told_and_decides_nothing(changes: dict[str, Any], check: str) -> None:
    found = of(changes)
    assert found.answer == READY
    (line,) = found.lines
    assert (line.kind, line.seen.partition(":")[0], bool(line.do)) == ("told", check, True)


#: what a preflight has to look at, and the checks that do
LOOKS_AT = {
    "GPU": ["gpu_silent", "gpu_not_gb10", "gpu_in_use"],
    "memory": ["memory_low", "memory_differs"],
    "system": ["releases_differ", "drivers_differ", "kernels_differ", "firmware_differs", "driver_reboot"],
    "Docker": ["docker_missing", "docker_stopped", "docker_failed", "docker_old", "docker_config_wrong"],
    "user and root": ["users_differ", "no_root"],
    "disk": ["disk_full"],
    "clock": ["clock_unsynchronised", "clocks_apart"],
    "clones": ["same_hostname", "same_machine_id", "same_ssh_keys", "same_address"],
    "cables": ["fabric_no_card", "fabric_no_carrier", "fabric_hotplug", "fabric_slow_cable", "fabric_verbs"],
    "leases": ["fabric_by_dhcp", "swarm_by_dhcp"],
    "NVIDIA Sync": ["netplan_sync", "gpu_in_use"],
    "ports and firewall": ["port_taken", "firewall_blocks"],
    "shared memory": ["ipc_removed"],
    "ways out": ["hub_unreachable", "model_refused"],
    "images": ["images_differ"],
}


@pytest.mark.parametrize("checks", LOOKS_AT.values(), ids=LOOKS_AT)
def test_what_a_preflight_has_to_look_at_is_in_its_answer(checks: list[str]) -> None:
    assert [name for name in checks if not load()[name].preflight] == []


def test_what_a_spark_is() -> None:
    told = damaged({"spark1.read.docker": lambda _old: {}})
    told["spark2"] = {"why": "timed out"}
    hosts = preflight.about(told, MEMBERS)
    assert list(hosts) == ["spark1"]
    assert (hosts["spark1"]["release"], hosts["spark1"]["docker"], hosts["spark1"]["cages"]) == ("7.3.1", None, [0])
    assert preflight.in_words(of({}), hosts)[1] == (
        "  spark   spark1: NVIDIA DGX Spark, 119.7 GiB, DGX OS 7.3.1, driver 580.95.05, kernel 6.11.0-1016-nvidia, "
        "firmware 28.45.4028, cable in cage 0, user nvidia (root by sudo), by DHCP 192.168.1.20 of enP7s7"
    )
    static = preflight.about(damaged({"spark1.read.addresses.0.dynamic": False}), MEMBERS)
    assert (static["spark1"]["leases"], hosts["spark1"]["leases"]) == ([], ["192.168.1.20 of enP7s7"])
    bare = preflight.about({"spark1": {"read": {"host": {"user": "x", "root": False}}}}, ["spark1"])
    assert preflight.in_words(of({}), bare)[1] == "  spark   spark1: user x (neither root nor docker)"


def test_lines_say_who_what_and_what_to_do_and_what_blocks_comes_first() -> None:
    found = of({"spark1.read.dpkg.locked": True, "spark2.read.memory.available_mib": 10}, MODEL)
    lines = preflight.in_words(found)
    assert lines[0] == "blocked; 134.20 GB have to move"
    assert lines[1].startswith("  blocked spark2: Little memory is left: 10 MiB of 122572 are available")
    assert lines[1].endswith("for who computes.")
    assert "  slow    spark2: lab/tiny: 134.20 GB to be copied" in lines
    document = preflight.as_json(found, {"spark1": {"memory_mib": 1}})
    assert (document["schema"], document["lines"][0]["kind"], document["bytes"]) == (1, "blocked", 134_200_000_000)
    assert document["hosts"] == {"spark1": {"memory_mib": 1}}
