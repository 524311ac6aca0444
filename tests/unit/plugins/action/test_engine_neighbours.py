# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several instances on the same Sparks: what is refused by name, what each may take, and what an undo leaves."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action import engine_plan, engine_undo_plan
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import changes as planning
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, host
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import layout
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError
from hypothesis import given
from hypothesis import strategies as st
from test_engine_plan import BUILT, asked_for, blank, fabric_of, made, with_demand

GIB, SPARK = 1024, 122880
PAIR = ["spark1", "spark2"]
PLACES = layout("trtllm", "vlm")
BASE = {"id": "sha256:" + "b" * 64}


def other(instance: str = "", **facts: Any) -> dict[str, Any]:
    """Another instance, as engine_host_info tells it: 60 GiB of weights, and no budget."""
    return {
        **{"name": layout("trtllm", instance)["name"], "engine": "trtllm", "instance": instance, "leader": "spark1"},
        **{"rank": 0, "launcher": "docker", "api_listen": "127.0.0.1:8355", "ssh_port": 2233, "share_mib": 60 * GIB},
        **{"budget_mib": 0, "phase": "serving"},
        **facts,
    }


def asked_beside(members: list[str], launcher: str = "docker", **options: Any) -> dict[str, Any]:
    """A second instance, with 10 GiB of weights."""
    wanted = asked_for(members, launcher, **{"instance": "vlm", "api_port": 8356, **options})
    return {**wanted, "model": {**wanted["model"], "bytes": 10 * 2**30 * len(members)}}


def found_with(members: list[str], *others: dict[str, Any], **facts: Any) -> dict[str, Any]:
    """Sparks of 128 GB that have these instances, and 50 GiB of memory left."""
    own = {"others": list(others), "memory_mib": SPARK, "memory_available_mib": 50 * GIB, **facts}
    paths = [*host.text_files(PLACES), *host.other_paths(PLACES, ["vocabulary"])]
    absent = {path: {"kind": "absent"} for path in paths}
    found = {name: {**blank(name), **own} for name in members}
    return {name: {**one, "entries": {**one["entries"], **absent}} for name, one in found.items()}


def refusal(asked: dict[str, Any], found: dict[str, Any]) -> str:
    plugin = engine_plan.ActionModule.__new__(engine_plan.ActionModule)
    with pytest.raises(PlanError) as refused:
        plugin.plan({**asked, "found": found}, {})
    assert str(refused.value).endswith("Nothing was changed.")
    return str(refused.value)


def test_an_instance_has_names_of_its_own_and_the_others_image() -> None:
    asked, found = asked_beside(["spark1"]), found_with(["spark1"], other())
    plan = engine_plan.planned({**asked, "found": found})
    alone = engine_plan.planned({**asked_for(["spark1"], "docker"), "found": {"spark1": blank("spark1")}})
    assert (plan["instance"], alone["instance"]) == ("vlm", "")
    assert plan["image"]["name"] == alone["image"]["name"]
    own = plan["hosts"]["spark1"]
    assert own["container"]["name"] == "dgx-spark-trtllm-vlm"
    assert "docker start --attach dgx-spark-trtllm-vlm\n" in own["unit"]
    assert f"ConditionPathExists={PLACES['unit_link']}\n" in own["unit"]
    assert plan["stack"].splitlines()[1].endswith("/etc/dgx-spark/trtllm-vlm/stack.yml dgx-spark-trtllm-vlm")
    sources = {one["source"] for one in own["container"]["mounts"] if "source" in one}
    assert {"/etc/dgx-spark/trtllm-vlm", "/var/lib/dgx-spark/trtllm-vlm"} <= sources
    assert all(one["path"].startswith("/etc/dgx-spark/trtllm-vlm/") for one in own["files"])


def test_the_one_without_a_name_is_told_nothing_new() -> None:
    """So that what serves today is not started again by this."""
    plan = engine_plan.planned({**asked_for(["spark1"], "docker"), "found": {"spark1": blank("spark1")}})
    assert set(plan["cluster"]["limits"]) == {
        *("interval_s", "timeout_s", "failures", "load_timeout_s", "stall_s", "max_starts", "memory_floor_mib"),
        *("memory_load_floor_mib", "require_rdma", "memlock_bytes", "memory_wait_s", "drop_caches", "gpu_kind"),
        *("forget_s", "grace_s", "memory_need_mib", "memory_reserve_mib"),
    }
    assert set(plan["cluster"]) == {
        *("engine", "nodes", "subnets", "netdevs", "ssh_port", "serve", "environment", "api_listen", "api_probe"),
        "limits",
    }
    targets = [one["target"] for one in plan["hosts"]["spark1"]["container"]["mounts"]]
    assert targets == ["/etc/dgx-spark/engine", "/var/lib/dgx-spark/engine", "/models", "/run/dgx-spark", "/dev/shm"]


def test_a_converged_instance_needs_no_change_beside_another() -> None:
    asked, found = asked_beside(["spark1"]), found_with(["spark1"])
    plan = engine_plan.planned({**asked, "found": found, "base_id": BASE["id"], "image_id": BUILT})
    own, one = plan["hosts"]["spark1"], found["spark1"]
    one["entries"].update({each["path"]: {"kind": "directory", "mode": each["mode"]} for each in own["directories"]})
    one["entries"].update(
        {each["path"]: {"kind": "file", "content": each["content"], "mode": each["mode"]} for each in own["files"]}
    )
    one["entries"][PLACES["unit_file"]] = {"kind": "file", "content": own["unit"], "mode": "0644"}
    one["entries"][PLACES["unit_link"]] = {"kind": "file", "mode": "0644"}
    one.update(packages=list(planning.PACKAGES), unit={"active": "active"}, others=[other()])
    one["docker"].update(container={"labels": own["container"]["labels"]}, images=[BUILT], base=BASE)
    one["docker"]["built"] = [{"id": BUILT, "tags": [plan["image"]["name"]], "labels": {}}]
    one["state"] = {"phase": "serving", "config": plan["config_digest"]}
    one["memory_available_mib"] = 20 * GIB  # it has what it needs by now
    again = engine_plan.planned({**asked, "found": found})
    assert again["changes"] == {"spark1": []}
    assert "warnings" not in again


@pytest.mark.parametrize(
    ("wanted", "facts", "says"),
    [
        (
            {"api_port": 8355},
            {},
            "spark1: port 8355 of 127.0.0.1 is the API's of the instance without a name (dgx-spark-trtllm): choose "
            "another one for the instance vlm (engine_serve_api_port, such as -e spark_api_port=8356)",
        ),
        ({"api_port": 8355}, {"api_listen": "0.0.0.0:8355"}, "spark1: port 8355 of 0.0.0.0 is the API's"),
        ({"api_host": "0.0.0.0", "api_port": 8355}, {}, "spark1: port 8355 of 127.0.0.1 is the API's"),
        ({"api_port": 8355}, {"api_listen": "10.0.0.1:8355"}, ""),
        ({}, {"api_listen": ""}, ""),
        ({"launcher": "swarm"}, {}, ""),
        (
            {"launcher": "swarm"},
            {"launcher": "swarm"},
            "spark1: the Swarm has given the only GPU of this Spark to the instance without a name (dgx-spark-trtllm), "
            "and gives it to no second service: have systemd start the instance vlm beside it (-e "
            "spark_launcher=docker)",
        ),
        ({"launcher": "docker"}, {"launcher": "swarm"}, ""),
        ({}, {"rank": 1, "leader": "spark9"}, "spark1 is rank 1 of the instance without a name"),
        ({}, {"leader": "127.0.0.1"}, ""),  # the same Spark by another name of the inventory
    ],
)
def test_what_another_instance_has(wanted: dict[str, Any], facts: dict[str, Any], says: str) -> None:
    asked = {**asked_beside(["spark1"]), **wanted}
    found = found_with(["spark1"], other(**facts))
    if says:
        assert says in refusal(asked, found)
    else:
        assert engine_plan.planned({**asked, "found": found})["changes"]["spark1"]


@pytest.mark.parametrize(
    ("wanted", "facts", "says"),
    [
        ({}, {}, "spark2: port 2233 is the workers' sshd's of the instance without a name"),
        ({"ssh_port": 2234}, {}, ""),
        ({"ssh_port": 2234}, {"leader": "spark2", "rank": 0}, "spark2 is rank 0 of the instance without a name"),
        ({"ssh_port": 2234}, {"leader": "spark3"}, "give both the same first Spark"),
    ],
)
def test_what_another_instance_has_on_a_worker(wanted: dict[str, Any], facts: dict[str, Any], says: str) -> None:
    asked = {**asked_beside(PAIR, fabric=fabric_of(PAIR)), **wanted}
    found = found_with(PAIR)
    found["spark1"]["others"], found["spark2"]["others"] = [other()], [other(**{"rank": 1, **facts})]
    if says:
        assert says in refusal(asked, found)
    else:
        assert engine_plan.planned({**asked, "found": found})["changes"]["spark2"]


BOUND = 40 * GIB


@pytest.mark.parametrize(
    ("facts", "here", "wanted", "says"),
    [
        # 60 of weights and the budget of the other, which is 10 + 24, and 24 beside both: 118 of 120
        ({}, {}, {}, ""),
        (
            {"share_mib": 63 * GIB},
            {},
            {},
            "spark1 has 122880 MiB in all, of which 64512 to the instance without a name (dgx-spark-trtllm) are "
            "promised; 34816 for the instance vlm and 24576 beside all of them (engine_serve_memory_reserve_mib) do "
            "not fit: choose a smaller model, lower engine_serve_memory_budget_mib of one of them",
        ),
        # by their budgets, whatever their weights are
        ({"share_mib": 63 * GIB, "budget_mib": 60 * GIB}, {}, {}, ""),
        ({"budget_mib": 56 * GIB}, {}, {"memory_budget_mib": BOUND}, ""),
        ({"budget_mib": 57 * GIB}, {}, {"memory_budget_mib": BOUND}, "58368 to the instance without a name"),
        # what is left beside one that has no budget and serves
        (
            {},
            {"memory_available_mib": 20 * GIB},
            {},
            "spark1 has 20480 MiB available, and the instance vlm needs 34816: the instance without a name "
            "(dgx-spark-trtllm) has no budget, and took what was free when it loaded. Run its playbook again with "
            "-e engine_serve_memory_budget_mib=63488 or less, then this one",
        ),
        ({"budget_mib": 62 * GIB}, {"memory_available_mib": 20 * GIB}, {}, ""),
        ({"phase": "stopped"}, {"memory_available_mib": 20 * GIB}, {}, ""),
        ({}, {"memory_available_mib": 20 * GIB, "state": {"phase": "serving"}}, {}, ""),
        ({}, {"memory_available_mib": 0}, {}, ""),  # nobody knows
        # a budget that cannot be kept
        (
            {},
            {},
            {"memory_budget_mib": 16384},
            "spark1: engine_serve_memory_budget_mib is 16384 MiB, and a rank needs more than 16384: 10240 for its",
        ),
        ({}, {}, {"memory_budget_mib": 16385}, ""),
    ],
)
def test_memory_is_promised_once(
    facts: dict[str, Any], here: dict[str, Any], wanted: dict[str, Any], says: str
) -> None:
    asked = {**asked_beside(["spark1"]), **wanted}
    found = found_with(["spark1"], other(**facts), **here)
    if says:
        assert says in refusal(asked, found)
    else:
        assert engine_plan.planned({**asked, "found": found})["changes"]["spark1"]


def test_a_smaller_spark_is_promised_less() -> None:
    """Half of the reserve is kept on a Spark of 64 GB, and half is the instance's own."""
    asked, found = asked_beside(["spark1"]), found_with(["spark1"], other(share_mib=1024), memory_mib=SPARK // 2)
    plan = engine_plan.planned({**asked, "found": found})
    assert plan["cluster"]["limits"]["memory_budget_mib"] == 10 * GIB + 12 * GIB


@given(st.integers(0, 80 * GIB), st.integers(0, 80 * GIB), st.sampled_from([SPARK, SPARK // 2]))
def test_what_a_plan_lets_in_is_never_more_than_there_is(own: int, promised: int, total: int) -> None:
    asked = {**asked_beside(["spark1"]), "memory_budget_mib": own, "memory_reserve_mib": 8192}
    found = found_with(["spark1"], other(budget_mib=promised), memory_mib=total)
    plugin = engine_plan.ActionModule.__new__(engine_plan.ActionModule)
    try:
        limits = plugin.plan({**asked, "found": found}, {})["cluster"]["limits"]
    except PlanError:
        return
    assert limits["memory_budget_mib"] + (promised or 60 * GIB) <= total


@pytest.mark.parametrize(
    ("instance", "budget", "facts", "says"),
    [
        ("vlm", 0, {"budget_mib": BOUND}, ""),  # one with a name has a budget of its own accord
        ("vlm", 0, {}, "the instance without a name (dgx-spark-trtllm) has no memory budget and takes"),
        ("", BOUND, {"instance": "vlm", "name": "dgx-spark-trtllm-vlm", "budget_mib": BOUND, "api_listen": ""}, ""),
        (
            "",
            0,
            {"instance": "vlm", "name": "dgx-spark-trtllm-vlm", "budget_mib": BOUND, "api_listen": ""},
            "the instance without a name has no memory budget and takes",
        ),
    ],
)
def test_who_may_take_all_after_a_reboot_is_said(instance: str, budget: int, facts: dict[str, Any], says: str) -> None:
    asked = {**asked_beside(["spark1"]), "instance": instance, "memory_budget_mib": budget, "drop_caches": True}
    plan = engine_plan.planned({**asked, "found": found_with(["spark1"], other(**facts))})
    warned = " ".join(plan.get("warnings", []))
    assert warned.startswith(says) if says else warned == ""


def test_a_name_that_would_not_do_is_refused() -> None:
    said = refusal({**asked_beside(["spark1"]), "instance": "../x"}, found_with(["spark1"]))
    assert "the instance's name is '../x': give up to 16 lower-case letters" in said


# --- undo ------------------------------------------------------------------------------------------------------------


def undo(found: dict[str, Any], **known: Any) -> dict[str, Any]:
    variables = {"inventory_hostname": "spark1", **known}
    return engine_undo_plan.ActionModule.plan(SimpleNamespace(), {"found": found}, variables)


def served(instances: list[str]) -> dict[str, Any]:
    """A Spark on which the one without a name serves, of these."""
    found = made(asked_for(["spark1"], "docker"), {"spark1": blank("spark1")}, {})
    found["spark1"]["instances"] = instances
    return found


def names(plan: dict[str, Any]) -> list[str]:
    return [one["name"] for one in plan["changes"]["spark1"]]


def test_the_image_stays_until_the_last_instance_goes() -> None:
    found = served(["", "vlm"])
    plan = undo(found)
    assert planning.REMOVE_IMAGES not in names(plan)
    assert plan["left"] == ["dgx-spark-trtllm-vlm"]
    assert planning.STOP_UNIT in names(plan)
    plan = undo(served([""]))
    assert (planning.REMOVE_IMAGES in names(plan), plan["left"]) == (True, [])


def test_what_another_engine_serves_keeps_what_it_needs_and_no_image_of_this_one() -> None:
    found = served([""])
    other = {"name": "dgx-spark-vllm", "engine": "vllm", "instance": ""}
    found["spark1"]["others"] = [*found["spark1"].get("others", []), other]
    plan = undo(found)
    assert (planning.REMOVE_IMAGES in names(plan), plan["left"]) == (True, ["dgx-spark-vllm"])
    assert undo(found, engine_serve_plan={"ending": ["dgx-spark-vllm"]})["left"] == []


def test_a_dry_run_counts_what_the_play_would_have_ended() -> None:
    """There, the instance whose undo came first is still on the host."""
    plan = undo(served(["", "vlm"]), engine_serve_plan={"ending": ["dgx-spark-trtllm-vlm"]})
    assert (planning.REMOVE_IMAGES in names(plan), plan["left"]) == (True, [])
    assert plan["ending"] == ["dgx-spark-trtllm", "dgx-spark-trtllm-vlm"]


def test_another_instances_firewall_rules_stay() -> None:
    found = served(["", "vlm"])
    rules = [
        {"rule": "allow 8355/tcp", "comment": "DGX Spark serving"},
        {"rule": "allow 8356/tcp", "comment": "DGX Spark serving vlm"},
    ]
    found["spark1"]["firewall"]["rules"] = rules
    shown = next(one for one in undo(found)["changes"]["spark1"] if one["name"] == planning.REMOVE_RULES)
    assert "8355" in json.dumps(shown)
    assert "8356" not in json.dumps(shown)


def test_what_fits_is_judged_by_the_budget_of_the_kv_cache() -> None:
    asked, found = with_demand(["spark1"], 10 * 2**30, SPARK)
    free = engine_plan.planned({**asked, "found": found})["fit"]["kv_tokens"]
    bounded = engine_plan.planned({**asked, "memory_budget_mib": 20 * GIB, "found": found})["fit"]["kv_tokens"]
    left = (10 * GIB - contract.KEPT_MIB) << 20  # of the budget, beside the weights and what else a rank takes
    assert 0 < bounded <= left // asked["engine"]["demand"]["kv_bytes_per_token"] < free
