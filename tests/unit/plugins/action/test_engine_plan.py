# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change so that an engine serves as planned: all on a blank Spark, nothing where all is made."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.action import engine_plan, engine_undo_plan
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import alert, contract, host, trtllm
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import changes as planning
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import (
    BASE_LABEL,
    COMMENT,
    CONTEXT_LABEL,
    PACKAGES,
    layout,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ufw import spread
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import fit
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError
from hypothesis import given
from hypothesis import strategies as st

CONTEXT = Path(__file__).parents[4] / "roles" / "engine_serve" / "files" / "image"
REPO = "/home/nvidia/.cache/huggingface/hub/models--lab--tiny"
BASE, BUILT = "sha256:" + "b" * 64, "sha256:" + "a" * 64
PLACES = layout("trtllm")
DEFAULTS = {name: spec["default"] for name, spec in engine_plan.ActionModule.SPEC.items() if "default" in spec}


def fabric_of(members: list[str]) -> dict[str, Any]:
    return {
        name: {
            "control_address": f"192.168.100.{number}",
            "links": [{"netdev": "enp1", "rdma_device": "rocep1s0f0", "address": f"192.168.100.{number}/24"}],
        }
        for number, name in enumerate(members, 1)
    }


def asked_for(members: list[str], launcher: str = "swarm", **options: Any) -> dict[str, Any]:
    """The options of the planner, without what was found."""
    arguments = {"tp_size": len(members)}
    engine = trtllm.plan(
        trtllm.Request(
            members=members,
            snapshot=f"{REPO}/snapshots/abc",
            repo_dir=REPO,
            arguments=arguments,
            config=options.pop("config", {}),
            encodings={"vocabulary": "12"},
            encodings_url="http://hub",
        )
    )
    engine["files"] = {"llm.yml": yaml.safe_dump(engine["options"])}
    return {
        **DEFAULTS,
        "members": members,
        "engine": engine,
        "model": {"repo": "lab/tiny", "repo_dir": REPO, "bytes": 10**9},
        "fabric": fabric_of(members) if len(members) > 1 else {},
        "launcher": launcher,
        "base_image": "nvcr.io/release:1.3.0rc5",
        "context": str(CONTEXT),
        **options,
    }


def blank(name: str) -> dict[str, Any]:
    """What engine_host_info returns of a Spark that has Docker and nothing of ours."""
    paths = [*host.text_files(PLACES), *host.other_paths(PLACES, ["vocabulary"])]
    return {
        "layout": PLACES,
        "hostname": name,
        "platform": {"kernel": "6.11", "driver": "580", "firmware": "28"},
        "memory_mib": 122_000,
        "entries": {path: {"kind": "absent"} for path in paths},
        "state": {},
        "unit": {"active": "inactive"},
        "packages": [],
        "firewall": {"installed": True, "enabled": True, "rules": []},
        "docker": {
            "store": "graph driver",
            "swarm": {"manager": False, "state": "inactive"},
            "base": {},
            "images": [],
            "built": [],
            "container": {},
            "stack_containers": [],
            "services": {},
        },
        "listen": [],
    }


def file(content: str, mode: str = "0644") -> dict[str, Any]:
    return {"kind": "file", "content": content, "mode": mode, "digest": hashlib.sha256(content.encode()).hexdigest()}


def hidden(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of a file that is looked at without its content."""
    return {name: value for name, value in entry.items() if name != "content"}


def made(asked: dict[str, Any], found: dict[str, Any], plan: dict[str, Any]) -> dict[str, Any]:
    """SIMULATED: the hosts after an apply of the plan. What the plan makes known late is planned again with it."""
    keys = {name: f"ssh-ed25519 KEY{name} dgx-spark MPI {name}" for name in asked["members"]}
    plan = engine_plan.planned({**asked, "found": found, "base_id": BASE, "image_id": BUILT, "public_keys": keys})
    after = copy.deepcopy(found)
    leader = asked["members"][0]
    for name, one in after.items():
        own, entries, docker = plan["hosts"][name], one["entries"], one["docker"]
        one["packages"] = list(PACKAGES)
        entries.update({each["path"]: {"kind": "directory", "mode": each["mode"]} for each in own["directories"]})
        entries.update({each["path"]: file(each["content"], each["mode"]) for each in own["files"]})
        entries.update({path: {"kind": "absent"} for path in own["alert"]["paths"]})
        for each in own["alert"]["files"]:
            entries[each["path"]] = file(each["content"], each["mode"])
            entries[own["alert"]["url_path"]] = hidden(file(asked["alert_url"] + "\n", "0600"))
        if len(asked["members"]) > 1:
            entries[own["key"]] = {"kind": "file", "mode": "0600"}
            entries[f"{own['key']}.pub"] = file(keys[name] + "\n")
        docker["images"] = [BUILT]
        for gone in ("services", "container", "stack_containers"):
            docker[gone] = type(docker[gone])()
        rules = [text for rule in own["firewall_rules"] for text in spread(rule)]
        one["firewall"]["rules"] = [{"rule": rule, "comment": COMMENT} for rule in rules]
        for path in (PLACES["stack"], PLACES["unit_file"], PLACES["unit_link"]):
            entries[path] = {"kind": "absent"}
        if asked["launcher"] == "docker":
            entries[PLACES["unit_file"]] = file(own["unit"])
            entries[PLACES["unit_link"]] = {"kind": "file", "mode": "0644"}
            docker["container"] = {"labels": own["container"]["labels"], "state": "running"}
        one["unit"] = {"active": "active" if asked["launcher"] == "docker" else "inactive"}
    first = after[leader]
    first["docker"].update(base={"id": BASE}, built=[{"id": BUILT, "tags": [plan["image"]["name"]], "labels": {}}])
    first["state"] = {"config": plan["config_digest"], "phase": "serving", "began": 17.5}
    for item in asked["engine"]["downloads"]:
        first["entries"][f"{PLACES['state_dir']}/{item['name']}"] = {"kind": "file", "digest": item["sha256"]}
    if len(asked["members"]) > 1:
        nodes = "".join(f"{name} slots=1\n" for name in ["localhost", *asked["members"][1:]])
        header = "# Ansible managed (sparkops.dgx_spark.mpi_hostfile): changes made here will be lost.\n"
        first["entries"][f"{PLACES['config_dir']}/hostfile"] = file(header + nodes)
    if asked["launcher"] == "swarm":
        first["entries"][PLACES["stack"]] = file(plan["stack"])
        services = yaml.safe_load(plan["stack"])["services"]
        first["docker"]["services"] = {f"dgx-spark-trtllm_{one}": services[one]["deploy"]["labels"] for one in services}
    return after


def changes(asked: dict[str, Any], found: dict[str, Any]) -> dict[str, list[str]]:
    planned = engine_plan.planned({**asked, "found": found})["changes"]
    return {name: [change["name"] for change in some] for name, some in planned.items()}


PAIR = ["spark1", "spark2"]
SIZES = st.sampled_from([["spark1"], PAIR, [*PAIR, "spark3"]])
LAUNCHERS = st.sampled_from(["swarm", "docker"])


def test_a_blank_pair_changes_in_all() -> None:
    asked = asked_for(PAIR, api_host="0.0.0.0")
    found = {name: blank(name) for name in PAIR}
    leader, worker = changes(asked, found).values()
    common = [planning.DIRECTORIES, planning.KEY, planning.WRITE]
    assert leader == [
        *(planning.INSTALL, planning.PULL, planning.BUILD, *common, planning.HOSTFILE),
        *(planning.WRITE_STACK, planning.DEPLOY, planning.FIREWALL),
    ]
    assert worker == [planning.INSTALL, planning.LOAD, *common]


def test_a_blank_spark_changes_in_all_by_systemd() -> None:
    assert changes(asked_for(["spark1"], "docker"), {"spark1": blank("spark1")})["spark1"] == [
        *(planning.INSTALL, planning.PULL, planning.BUILD, planning.DIRECTORIES, planning.WRITE),
        *(planning.WRITE_UNIT, planning.ENABLE_UNIT, planning.CREATE_CONTAINER, planning.START_UNIT),
    ]


@given(SIZES, LAUNCHERS, st.sampled_from(["127.0.0.1", "0.0.0.0"]), st.booleans(), st.booleans())
def test_what_the_plan_makes_needs_no_change(
    members: list[str], launcher: str, api_host: str, caches: bool, harmony: bool
) -> None:
    config = {"model_type": "gpt_oss"} if harmony else {}
    asked = asked_for(members, launcher, api_host=api_host, drop_caches=caches, config=config)
    found = {name: blank(name) for name in members}
    after = made(asked, found, {})
    assert changes(asked, after) == {name: [] for name in members}


@given(SIZES, LAUNCHERS)
def test_the_other_launcher_leaves_nothing(members: list[str], launcher: str) -> None:
    other = "docker" if launcher == "swarm" else "swarm"
    before = made(asked_for(members, other), {name: blank(name) for name in members}, {})
    asked = asked_for(members, launcher)
    names = changes(asked, before)
    gone = (
        (planning.REMOVE_STACK, planning.REMOVE_STACK_FILE)
        if other == "swarm"
        else (*(planning.STOP_UNIT, planning.REMOVE_CONTAINER, planning.DISABLE_UNIT, planning.REMOVE_UNIT),)
    )
    assert set(gone) <= set(names[members[0]])
    assert changes(asked, made(asked, before, {})) == {name: [] for name in members}


def serving_pair(launcher: str = "swarm", **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    asked = asked_for(PAIR, launcher, **options)
    return asked, made(asked, {name: blank(name) for name in PAIR}, {})


OTHER = "/home/ubuntu/.cache/huggingface/hub/models--lab--tiny"


@pytest.mark.parametrize("launcher", ["swarm", "docker"])
def test_login_users_of_other_names_have_the_model_mounted_from_their_own_caches(launcher: str) -> None:
    model = {"repo": "lab/tiny", "repo_dir": REPO, "bytes": 10**9, "repo_dirs": {"spark1": REPO, "spark2": OTHER}}
    asked = {**asked_for(PAIR, launcher), "model": model}
    found = {name: blank(name) for name in PAIR}
    plans = [
        engine_plan.planned({**asked, "found": found, "model": {**model, "repo_dir": own}}) for own in (REPO, OTHER)
    ]
    for plan in plans:  # each host plans with its own repo_dir
        if launcher == "swarm":
            services = yaml.safe_load(plan["stack"])["services"]
            mounts = [services[role]["volumes"] for role in ("leader", "worker")]
        else:
            mounts = [plan["hosts"][name]["container"]["mounts"] for name in PAIR]
        sources = [next(one for one in some if one["target"] == contract.MODEL_DIR)["source"] for some in mounts]
        assert sources == [REPO, OTHER]
    assert plans[0]["changes"] == plans[1]["changes"]
    after = made(asked, found, {})
    for own in (REPO, OTHER):
        assert changes({**asked, "model": {**model, "repo_dir": own}}, after) == {name: [] for name in PAIR}


def expanded(text: str) -> str:
    """What Compose makes of ``$$``, and Swarm of a template that is a string."""
    assert not re.search(r"(?<!\$)(\$\$)*\$(?!\$)", text), "a variable of Compose"
    text = text.replace("$$", "$").replace('{{"{{"}}', "\0")
    assert "{{" not in text, "a template of Swarm"
    return text.replace("\0", "{{")


def test_the_stack_file_says_no_more_than_its_words() -> None:
    odd = "/data/$HF/${x}/{{.Node.Hostname}}/models--lab--tiny"
    asked = asked_for(PAIR)
    asked["model"] = {**asked["model"], "repo_dir": odd}
    asked["engine"] = trtllm.plan(
        trtllm.Request(members=PAIR, snapshot=f"{odd}/snapshots/a", repo_dir=odd, arguments={"tp_size": 2})
    )
    plan = engine_plan.planned({**asked, "found": {name: blank(name) for name in PAIR}})
    for one in yaml.safe_load(plan["stack"])["services"].values():
        (source,) = (each["source"] for each in one["volumes"] if each["target"] == contract.MODEL_DIR)
        assert source != odd
        assert expanded(source) == odd
        for value in one["environment"].values():
            assert expanded(value) == value
    assert odd in str(plan["hosts"]["spark1"]["container"]["mounts"]), "systemd's container takes it as it is"


def test_workers_whose_caches_differ_cannot_be_one_service_of_a_swarm() -> None:
    members = [*PAIR, "spark3"]
    dirs = {"spark1": OTHER, "spark2": REPO, "spark3": OTHER}
    asked = asked_for(members)
    asked["model"] = {**asked["model"], "repo_dirs": dirs}
    said = refusal(asked, {name: blank(name) for name in members})
    assert f"spark2: {REPO}, spark3: {OTHER}" in said
    assert "hf_cache_dir" in said
    assert said.endswith("Nothing was changed.")
    asked = {**asked_for(members, "docker"), "model": asked["model"]}
    assert changes(asked, {name: blank(name) for name in members})


def with_room(one: dict[str, Any], free_gb: int) -> dict[str, Any]:
    """A Spark whose one disk has so much room."""
    filesystem = {"device": 1, "mount": "/", "free_bytes": free_gb * 10**9}
    room = {name: {"path": f"/{name}", "filesystem": filesystem} for name in ("images", "docker")}
    return {**one, "docker": {**one["docker"], "room": room}}


def model_of(size_gb: int, frees: dict[str, int]) -> dict[str, Any]:
    needs = {
        name: [
            {
                **{"what": "lab/tiny", "path": REPO, "bytes": size_gb * 10**9, "step": ""},
                "filesystem": {"device": 1, "mount": "/", "free_bytes": free * 10**9},
            }
        ]
        for name, free in frees.items()
    }
    return {"repo": "lab/tiny", "repo_dir": REPO, "bytes": size_gb * 10**9, "room": needs}


@pytest.mark.parametrize(
    ("frees", "full"),
    [
        # the leader: 100 of the model + 50 of layers + 20 as they are pulled + 20; the worker: 100 + 50 + 50 + 20
        ({"spark1": 190, "spark2": 220}, ""),
        ({"spark1": 189, "spark2": 220}, "spark1"),
        ({"spark1": 190, "spark2": 219}, "spark2"),
    ],
)
def test_what_does_not_fit_beside_the_model_is_refused(frees: dict[str, int], full: str) -> None:
    asked = {**asked_for(PAIR), "model": model_of(100, frees), "base_bytes": 20 * 10**9}
    found = {name: with_room(blank(name), free) for name, free in frees.items()}
    if not full:
        plan = engine_plan.planned({**asked, "found": found})
        assert plan["moves"] == {
            "spark1": {"what": "nvcr.io/release:1.3.0rc5", "bytes": 20 * 10**9, "way": "pull"},
            "spark2": {"what": "the engine's image", "bytes": 50 * 10**9, "way": "copy"},
        }
        by_another_tag = engine_plan.planned({**asked, "found": found, "base_content_there": True})
        assert by_another_tag["moves"] == {"spark2": plan["moves"]["spark2"]}, "nothing is to be pulled"
        lines = plan["room"]
        assert "100.00 GB for lab/tiny" in lines["spark1"][0]
        assert "= 200.00 GB at once, 220.00 GB are free" in lines["spark2"][0]
        return
    said = refusal(asked, found)
    assert f"{full}: what will lie on / does not fit" in said
    assert f"{frees[full]}.00 GB are free, and 20 GB are to stay free (engine_serve_reserve_gb)" in said
    assert "data-root" in said
    assert said.endswith("Nothing was changed.")


def test_a_registry_that_does_not_tell_is_taken_to_have_a_large_image() -> None:
    frees = {"spark1": 189, "spark2": 220}
    asked = {**asked_for(PAIR), "model": model_of(100, frees)}
    found = {name: with_room(blank(name), free) for name, free in frees.items()}
    assert "does not fit" in refusal({**asked, "base_bytes": 0}, found)
    assert engine_plan.planned({**asked, "found": found, "base_bytes": 0, "image_gb": 5})
    assert engine_plan.planned({**asked, "found": found}), "it was not asked yet"


def test_what_is_pulled_and_built_by_now_is_no_news_of_the_room() -> None:
    frees = {"spark1": 190, "spark2": 220}
    asked = {**asked_for(PAIR), "model": model_of(100, frees), "base_bytes": 20 * 10**9}
    found = {name: with_room(blank(name), free) for name, free in frees.items()}
    rooms = [
        engine_plan.planned({**asked, "found": found, "base_id": base, "image_id": built})["room"]
        for base, built in (("", ""), (BASE, ""), (BASE, BUILT))
    ]
    assert rooms[0] == rooms[1] == rooms[2]


def refusal(asked: dict[str, Any], found: dict[str, Any]) -> str:
    plugin = engine_plan.ActionModule.__new__(engine_plan.ActionModule)
    with pytest.raises(PlanError) as refused:
        plugin.plan({**asked, "found": found}, {})
    return str(refused.value)


def diff_of(plan: dict[str, Any], member: str, name: str) -> str:
    return next(one for one in plan["changes"][member] if one["name"] == name)["diff"]["after"]


def test_a_worker_needs_the_packages_of_its_own_tasks_alone() -> None:
    asked, found = asked_for(PAIR), {name: blank(name) for name in PAIR}
    plan = engine_plan.planned({**asked, "found": found})
    assert diff_of(plan, "spark1", planning.INSTALL).split() == list(PACKAGES)
    assert diff_of(plan, "spark2", planning.INSTALL).split() == ["python3-requests"]
    assert plan["hosts"]["spark2"]["packages"] == ["python3-requests"]
    found["spark2"]["packages"] = ["python3-requests"]
    assert planning.INSTALL not in changes(asked, found)["spark2"]


@pytest.mark.parametrize(
    ("member", "package", "refused"),
    [
        ("spark1", "python3-jsondiff", True),
        ("spark2", "python3-requests", True),
        ("spark2", "python3-jsondiff", False),  # which it does not need
    ],
)
def test_a_package_that_no_source_has_is_refused_where_it_is_needed(member: str, package: str, refused: bool) -> None:
    asked, found = asked_for(PAIR), {name: blank(name) for name in PAIR}
    found[member]["unavailable"] = [package]
    if not refused:
        assert changes(asked, found)
        return
    said = refusal(asked, found)
    assert f"{member}: no package source has {package}: update the lists (sudo apt-get update)" in said
    assert said.endswith("Nothing was changed.")


@pytest.mark.parametrize(
    ("launcher", "here", "there"),
    [
        ("swarm", [planning.RESTART_SERVICES], [planning.WRITE]),
        ("docker", [planning.RESTART_UNIT], [planning.WRITE, planning.RESTART_UNIT]),
    ],
)
def test_a_file_that_was_changed_by_hand_is_put_right_and_all_start_again(
    launcher: str, here: list[str], there: list[str]
) -> None:
    asked, found = serving_pair(launcher)
    found["spark2"]["entries"]["/etc/dgx-spark/trtllm/node.json"] = file("{}")
    assert changes(asked, found) == {"spark1": here, "spark2": there}
    assert engine_plan.planned({**asked, "found": found})["ignore_started_at"] == 17.5


def test_keys_that_are_gone_are_created_and_trusted() -> None:
    asked, found = serving_pair()
    for one in found.values():
        for path in list(one["entries"]):
            if "/ssh" in path:
                one["entries"][path] = {"kind": "absent"}
    assert changes(asked, found) == {
        "spark1": [planning.DIRECTORIES, planning.KEY, planning.WRITE, planning.RESTART_SERVICES],
        "spark2": [planning.DIRECTORIES, planning.KEY, planning.WRITE],
    }


@pytest.mark.parametrize(
    ("spoil", "leader"),
    [
        (lambda one: one["docker"]["services"].pop("dgx-spark-trtllm_worker"), [planning.DEPLOY]),
        (lambda one: one["docker"]["services"].clear(), [planning.DEPLOY]),
        (lambda one: one["state"].update(phase="gave up"), [planning.RESTART_SERVICES]),
        (lambda one: one["state"].update(phase="waiting"), []),
        (lambda one: one["entries"].update({PLACES["stack"]: file("x")}), [planning.WRITE_STACK, planning.DEPLOY]),
    ],
    ids=["a service is gone", "the Swarm was left", "it gave up", "it waits for a cable", "the stack was edited"],
)
def test_a_stack_is_made_whole(spoil: Any, leader: list[str]) -> None:
    asked, found = serving_pair()
    spoil(found["spark1"])
    assert changes(asked, found)["spark1"] == leader


@pytest.mark.parametrize(
    ("active", "labels", "names"),
    [
        ("failed", True, [planning.RESET_UNIT, planning.START_UNIT]),
        ("inactive", True, [planning.START_UNIT]),
        ("activating", True, []),
        ("active", False, [planning.CREATE_CONTAINER, planning.START_UNIT]),
    ],
)
def test_a_unit_is_started_where_it_does_not_run(active: str, labels: bool, names: list[str]) -> None:
    asked, found = serving_pair("docker")
    found["spark2"]["unit"]["active"] = active
    if not labels:
        found["spark2"]["docker"]["container"] = {}
    assert changes(asked, found) == {"spark1": [], "spark2": names}


def test_a_base_image_that_was_pruned_is_not_pulled_again() -> None:
    asked, found = serving_pair()
    plan = engine_plan.planned({**asked, "found": found})
    docker = found["spark1"]["docker"]
    docker["base"] = {}
    docker["built"][0]["labels"] = {BASE_LABEL: asked["base_image"], CONTEXT_LABEL: plan["image"]["context"]}
    assert changes(asked, found) == {"spark1": [], "spark2": []}
    docker["built"][0]["labels"][BASE_LABEL] = "another"
    assert changes(asked, found)["spark1"][:2] == [planning.PULL, planning.BUILD]


@pytest.mark.parametrize(
    "option",
    [
        {"gpu_kind": "other"},
        {"memlock": 65536},
        {"drop_caches": True},
        {"meminfo_path": "/run/meminfo"},
        {"stall_minutes": 7},
        {"memory_load_floor_mib": 9000},
    ],
)
def test_an_option_reaches_the_containers(option: dict[str, Any]) -> None:
    _asked, found = serving_pair()
    assert planning.DEPLOY in changes(asked_for(PAIR, **option), found)["spark1"]


def test_where_memory_is_read_is_mounted() -> None:
    asked, found = serving_pair(meminfo_path="/run/meminfo", drop_caches=True, drop_caches_path="/var/tmp/drop")
    plan = engine_plan.planned({**asked, "found": found})
    mounts = {one["target"]: one.get("source") for one in plan["hosts"]["spark1"]["container"]["mounts"]}
    assert mounts["/opt/dgx-spark/meminfo"] == "/run/meminfo"
    assert mounts["/opt/dgx-spark/drop_caches"] == "/var/tmp/drop"
    node = next(one for one in plan["hosts"]["spark1"]["files"] if one["path"].endswith("node.json"))
    assert '"meminfo": "/opt/dgx-spark/meminfo"' in node["content"]


def test_a_start_without_dropped_caches_says_what_it_loses() -> None:
    """And no converged run does."""
    asked, found = serving_pair()
    changed = {**asked_for(PAIR, launcher=asked["launcher"], max_starts=7), "found": found}
    changed["model"] = {**changed["model"], "bytes": 134 * 10**9}
    warned = engine_plan.planned(changed)["warnings"]
    assert len(warned) == 1
    # 122000 MiB, of which the weights take 63898
    assert warned[0].startswith("The KV cache may get up to 56 GiB less on each Spark: the model's files stay")
    assert "engine_serve_drop_caches: true" in warned[0]
    assert "warnings" not in engine_plan.planned({**changed, "drop_caches": True})
    assert "warnings" not in engine_plan.planned({**asked, "found": found})
    changed["model"]["bytes"] = 10**9
    assert "warnings" not in engine_plan.planned(changed), "it would be next to nothing"


def test_a_play_waits_longer_than_the_supervisor_does() -> None:
    asked, found = serving_pair()
    asked["model"] = {**asked["model"], "bytes": 134 * 10**9}
    plan = engine_plan.planned({**asked, "found": found})
    assert plan["cluster"]["limits"]["load_timeout_s"] == 4940
    assert plan["load_timeout"] == 5240
    assert plan["cluster"]["limits"]["stall_s"] == 2400
    assert engine_plan.planned({**asked, "found": found, "load_timeout": 60})["load_timeout"] == 360


def taken(one: dict[str, Any]) -> None:
    who = ["nginx (process 4711)"]
    one["listen"] = [{"address": "127.0.0.1", "port": 8355, "taken": True, "holders": who}]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (taken, "spark2: port 8355 of 127.0.0.1 is taken by nginx (process 4711). Stop that program"),
        (lambda one: one.update(hostname="spark1"), "spark1, spark2 have the host names spark1, spark1"),
        (lambda one: one["platform"].update(driver="570"), "driver differ"),
        (lambda one: one["docker"].update(store="containerd"), "'spark1': 'graph driver', 'spark2': 'containerd'"),
        (lambda one: one.update(memory_mib=500), "spark2: a rank needs 577 MiB, 477 for its share"),
        (lambda one: one.update(memory_mib=60_000), "(spark1 has 122000 MiB, spark2 has 60000 MiB)"),
        (lambda one: one.update(memory_mib=121_000), ""),  # firmware keeps a little
        (lambda one: one.update(docker={"problem": "Docker Engine does not answer"}), "spark2: Docker Engine does not"),
        (
            lambda one: one["firewall"]["rules"].append({"rule": "deny 8355/tcp", "comment": ""}),
            "",  # of a worker, which listens nowhere else
        ),
    ],
)
def test_what_would_not_serve_is_refused(spoil: Any, says: str) -> None:
    asked = asked_for(PAIR, api_host="0.0.0.0")
    found = {name: blank(name) for name in PAIR}
    spoil(found["spark2"])
    if says:
        with pytest.raises(PlanError) as refused:
            action(asked, found)
        assert says in str(refused.value)
        assert str(refused.value).endswith("Nothing was changed.")
    else:
        assert action(asked, found)["changes"]["spark2"]


def test_different_memory_may_be_waived_and_ends_nothing_that_serves() -> None:
    asked = asked_for(PAIR)
    found = {name: blank(name) for name in PAIR}
    found["spark2"]["memory_mib"] = 60_000
    assert action({**asked, "require_alike": False}, found)["changes"]["spark2"]
    alike = {name: blank(name) for name in PAIR}
    served = made(asked, alike, action(asked, alike))
    served["spark2"]["memory_mib"] = 60_000
    assert action(asked, served)["changes"] == {"spark1": [], "spark2": []}


DENSE = {"model_type": "llama", "num_hidden_layers": 94, "num_attention_heads": 64, "num_key_value_heads": 4}
DENSE.update(head_dim=128, max_position_embeddings=40960)


def with_demand(
    members: list[str], size: int, mib: int, config: Any = None, min_sparks: int = 1, **said: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A serving whose engine's planner says what its model needs, and Sparks of so many MiB."""
    need = fit.demand(DENSE if config is None else config, [], size, fit.Setting(tp=len(members), graphs=3, **said))
    asked = asked_for(members, "swarm" if len(members) > 1 else "docker")
    asked["engine"]["demand"] = fit.replace(need, model="lab/big", min_sparks=min_sparks).to_json()
    asked["model"]["bytes"] = size
    return asked, {name: {**blank(name), "memory_mib": mib} for name in members}


def test_a_model_that_fits_is_planned_with_its_figures() -> None:
    plan = action(*with_demand(PAIR, 134 * 10**9, 122_880))
    assert (plan["fit"]["answer"], plan["fit"]["kv_tokens"], plan["fit"]["largest"]) == ("fits", 306_764, [])
    assert not [one for one in plan["warnings"] if "fit" in one.split(":")[0]]


@pytest.mark.parametrize(
    ("members", "size", "mib", "more", "says"),
    [
        (["spark1"], 134, 122_880, {}, "spark1: a rank needs 152369 MiB, 127793 for its share of the weights"),
        (PAIR, 234, 122_880, {}, "spark1 and spark2: a rank needs 136156 MiB"),
        (PAIR, 134, 61_440, {}, "spark1 and spark2: a rank needs 76185 MiB"),
        (["spark1"], 10, 122_880, {"min_sparks": 2}, "lab/big needs 2 Sparks, and 1 is to serve it"),
        (
            PAIR,
            134,
            122_880,
            {"max_seq_len": 500_000},
            "max_seq_len asks for 500000. What would fit: a shorter context",
        ),
        (PAIR, 134, 122_880, {"min_kv_tokens": 500_000}, "trtllm_serve_min_kv_tokens asks for 500000"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_unless_it_is_forced(
    members: list[str], size: int, mib: int, more: dict[str, Any], says: str
) -> None:
    asked, found = with_demand(members, size * 10**9, mib, **more)
    with pytest.raises(PlanError) as refused:
        action(asked, found)
    assert str(refused.value).startswith("This model cannot be served as asked: ")
    assert says in str(refused.value)
    assert "What would fit: " in str(refused.value)
    assert str(refused.value).endswith("To try it all the same, set spark_model_force: true. Nothing was changed.")
    forced = action({**asked, "model_force": True}, found)
    assert forced["fit"]["answer"] == "does_not"
    assert forced["warnings"][0].startswith("The model does not fit, and engine_serve_model_force is true: ")
    assert says in forced["warnings"][0]


@pytest.mark.parametrize(
    ("config", "mib", "says"),
    [
        ({"model_type": "lab"}, 122_880, "nothing here knows what a token costs with the architecture lab"),
        ({}, 122_880, "its config.json is not known"),
        (None, 0, "nothing tells how much memory spark1 and spark2 has in all"),
    ],
)
def test_what_one_cannot_tell_of_a_model_is_a_warning(config: Any, mib: int, says: str) -> None:
    plan = action(*with_demand(PAIR, 134 * 10**9, mib, config))
    assert plan["fit"]["answer"] == "cannot_tell"
    assert plan["warnings"][0].startswith("One cannot tell whether the model fits: ")
    assert says in plan["warnings"][0]


def test_a_model_that_serves_is_not_judged_again() -> None:
    """What runs fits, whatever the figures say; only what would start it is refused, or warned of."""
    asked, found = serving_pair()
    need = fit.demand({}, [], 900 * 10**9, fit.Setting(tp=2)).to_json()
    asked["engine"]["demand"] = need
    plan = engine_plan.planned({**asked, "found": found})
    assert plan["changes"] == {"spark1": [], "spark2": []}
    assert plan["fit"]["answer"] == "does_not"
    assert "warnings" not in plan


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"repo_dir": None}, "of the model, repo_dir is None and no text: give engine_serve_model as"),
        ({"repo_dir": ""}, "repo_dir is '' and no text"),
        ({"repo_dir": REPO, "bytes": "65 GB"}, "bytes is '65 GB' and no number of bytes"),
        ({"repo_dir": REPO, "bytes": -1}, "bytes is -1 and no number"),
        ({"repo_dir": REPO, "repo_dirs": [REPO]}, "and no mapping"),
        ({"repo_dir": REPO, "repo_dirs": {"spark1": None}}, "repo_dirs['spark1'] is None and no text"),
    ],
)
def test_a_model_of_another_shape_is_refused(model: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanError) as refused:
        action({**asked_for(PAIR), "model": model}, {name: blank(name) for name in PAIR})
    assert says in str(refused.value)
    assert str(refused.value).endswith("Nothing was changed.")


def test_what_is_null_of_a_model_is_not_known() -> None:
    model = {"repo": None, "commit": None, "repo_dir": REPO, "bytes": None, "repo_dirs": None, "room": None}
    assert action({**asked_for(PAIR), "model": model}, {name: blank(name) for name in PAIR})["changes"]["spark1"]


def action(asked: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    plugin = engine_plan.ActionModule.__new__(engine_plan.ActionModule)
    plugin._task = SimpleNamespace(check_mode=False)
    return plugin.plan({**asked, "found": found}, {"inventory_hostname": "spark1"})


def test_a_rule_of_the_owners_in_the_way_is_named() -> None:
    asked = asked_for(PAIR, api_host="0.0.0.0")
    found = {name: blank(name) for name in PAIR}
    found["spark1"]["firewall"]["rules"] = [{"rule": "deny 8355/tcp", "comment": ""}]
    with pytest.raises(PlanError, match="ufw has the rule 'deny 8355/tcp' of another owner"):
        action(asked, found)


@given(SIZES, LAUNCHERS)
def test_an_undo_takes_all_away_and_then_nothing(members: list[str], launcher: str) -> None:
    found = {name: blank(name) for name in members}
    assert [list(planning.undo_changes(found, name)) for name in members] == [[] for _name in members]
    after = made(asked_for(members, launcher, api_host="0.0.0.0"), found, {})
    names = [change["name"] for change in planning.undo_changes(after, members[0])]
    assert names[-3:] == [planning.REMOVE_RULES, planning.REMOVE_IMAGES, planning.REMOVE_FILES]
    assert (planning.REMOVE_STACK if launcher == "swarm" else planning.STOP_UNIT) in names


def test_an_undo_names_what_ends_after_earlier_undos_of_the_play() -> None:
    found = {"spark1": blank("spark1"), "unread": {}}
    asked, known = {"found": found}, {"inventory_hostname": "spark1"}
    plan = engine_undo_plan.ActionModule.plan(SimpleNamespace(), asked, known)
    assert (set(plan["changes"]), plan["ending"]) == ({"spark1"}, ["dgx-spark-trtllm"])
    for earlier in ({"ending": ["dgx-spark-vllm"]}, {"endpoint": "of a serving"}):
        known["engine_serve_plan"] = earlier
        ending = engine_undo_plan.ActionModule.plan(SimpleNamespace(), asked, known)["ending"]
        assert ending == ["dgx-spark-trtllm", *earlier.get("ending", [])]
    with pytest.raises(PlanError, match="nothing is known of spark2"):
        engine_undo_plan.ActionModule.plan(SimpleNamespace(), asked, {"inventory_hostname": "spark2"})


def test_what_tools_leave_beside_the_files_makes_no_other_image(tmp_path: Path) -> None:
    for name in ("Dockerfile", "supervisor/state.py", "supervisor/__pycache__/state.pyc", ".cache/x.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(engine_plan.context_in(tmp_path)) == ["Dockerfile", "supervisor/state.py"]
    assert "supervisor/contract.py" in engine_plan.context_in(CONTEXT), "it is a link"


def test_every_change_has_a_name_of_a_task() -> None:
    folder = Path(__file__).parents[4] / "roles" / "engine_serve" / "tasks"
    tasks = {
        task["name"].partition(" | ")[2]
        for path in folder.glob("*.yml")
        for one in yaml.safe_load(path.read_text())
        for task in [one, *one.get("block", [])]
    }
    assert {*engine_plan.CHANGES, *planning.UNDO_NAMES} <= tasks


def test_vocabularies_come_once_and_again_where_one_is_another_file() -> None:
    asked, found = serving_pair()
    asked["engine"]["downloads"] = [{"name": "o200k.tiktoken", "url": "https://v.test/o200k", "sha256": "ab" * 32}]
    assert planning.DOWNLOAD in changes(asked, found)["spark1"]
    after = made(asked, found, {})
    assert changes(asked, after) == {"spark1": [], "spark2": []}
    after["spark1"]["entries"][f"{PLACES['state_dir']}/o200k.tiktoken"]["digest"] = "cd" * 32
    assert changes(asked, after)["spark1"] == [planning.DOWNLOAD]


HOOK = "https://hooks.test/s3cret-0f1e2d3c"
ALERTS = {"alert_url": HOOK, "alert_format": "slack", "alert_after": 5, "alert_settle": 7}


@pytest.mark.parametrize("launcher", ["swarm", "docker"])
def test_alerts_are_the_leaders_and_nothing_starts_again_for_them(launcher: str) -> None:
    asked, found = serving_pair(launcher)
    before = engine_plan.planned({**asked, "found": found})
    wanted = {**asked, **ALERTS}
    assert changes(wanted, found) == {"spark1": [planning.ALERT_URL], "spark2": []}
    plan = engine_plan.planned({**wanted, "found": found})
    assert (plan["config_digest"], plan["stack"], plan["ignore_started_at"]) == (
        before["config_digest"],
        before["stack"],
        before["ignore_started_at"],
    )
    settings = json.loads(diff_of(plan, "spark1", planning.ALERT_URL))
    assert settings == {"name": "dgx-spark-trtllm", "format": "slack", "after_s": 5, "settle_s": 7}
    assert set(settings) == set(contract.AlertSettings.__annotations__)
    after = made(wanted, found, {})
    assert changes(wanted, after) == {"spark1": [], "spark2": []}
    assert changes({**wanted, "alert_url": HOOK + "x"}, after)["spark1"] == [planning.ALERT_URL]
    assert changes({**wanted, "alert_after": 6}, after)["spark1"] == [planning.ALERT]
    other = {**wanted, "alert_url": HOOK + "x", "alert_format": "discord"}
    assert changes(other, after)["spark1"] == [planning.ALERT_URL], "one task writes both"
    assert changes(asked, after) == {"spark1": [planning.REMOVE_ALERT], "spark2": []}
    assert changes(asked, made(asked, after, {})) == {"spark1": [], "spark2": []}


def test_the_task_that_writes_a_url_writes_its_settings_too() -> None:
    tasks = yaml.safe_load((CONTEXT.parents[1] / "tasks" / "files.yml").read_text())
    (task,) = (one for one in tasks if one["name"].endswith(planning.ALERT_URL))
    assert task["no_log"]
    assert "__engine_serve_host.alert.files" in task["sparkops.dgx_spark.file_tree"]["files"]


def test_a_url_that_others_may_read_is_written_again() -> None:
    asked, found = serving_pair(**ALERTS)
    found["spark1"]["entries"][f"{PLACES['config_dir']}/alert_url"]["mode"] = "0644"
    assert changes(asked, found)["spark1"] == [planning.ALERT_URL]


def test_alerts_of_a_spark_that_leads_no_more_are_removed() -> None:
    asked, found = serving_pair(**ALERTS)
    url = found["spark1"]["entries"][f"{PLACES['config_dir']}/alert_url"]
    found["spark2"]["entries"][f"{PLACES['config_dir']}/alert_url"] = url
    assert changes(asked, found) == {"spark1": [], "spark2": [planning.REMOVE_ALERT]}


@pytest.mark.parametrize("stage", ["blank", "served"])
def test_a_plan_has_no_url(stage: str) -> None:
    asked, found = serving_pair() if stage == "served" else (asked_for(PAIR), {name: blank(name) for name in PAIR})
    plan = engine_plan.planned({**asked, **ALERTS, "found": found})
    assert planning.ALERT_URL in {one["name"] for one in plan["changes"]["spark1"]}
    assert "s3cret" not in json.dumps(plan)
    assert "hooks.test" not in json.dumps(plan)
    assert "s3cret" not in repr(alert.Alert(HOOK)), "as an error may show it"


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("alert_url", "hooks.test/s3cret", "is no URL to post to"),
        ("alert_url", "ftp://hooks.test/s3cret", "is no URL to post to"),
        ("alert_url", "https://hooks.test/s3cret x", "is no URL to post to"),
        ("alert_url", "https://hooks.test/s3cret\n", "is no URL to post to"),
        ("alert_url", "https://hooks.test:99999/s3cret", "is no URL to post to"),
        ("alert_url", "https:///s3cret", "is no URL to post to"),
        ("alert_url", "https://[::1/s3cret", "is no URL to post to"),
        ("alert_url", "https://hooks.test/s3cret\u00e4", "is no URL to post to"),
        ("alert_after", -1, "engine_serve_alert_after is -1: give seconds from 0 to 86400"),
        ("alert_settle", 86401, "engine_serve_alert_settle is 86401: give seconds from 0 to 86400"),
    ],
)
def test_alerts_that_cannot_be_are_refused_without_the_url(option: str, value: Any, says: str) -> None:
    said = refusal({**asked_for(PAIR), **ALERTS, option: value}, {name: blank(name) for name in PAIR})
    assert says in said
    assert "s3cret" not in said
    assert said.endswith("Nothing was changed.")


@given(st.text())
def test_no_url_ends_a_plan(url: str) -> None:
    said = alert.problem(alert.Alert(url))
    assert bool(said) == bool(url and not url.startswith(("http://", "https://"))) or url.startswith("http")


GOOD = "aaaaaaaaaaaa-111111111111"


@given(SIZES, LAUNCHERS, st.lists(st.sampled_from([GOOD, "bbbbbbbbbbbb-222222222222"]), unique=True), st.booleans())
def test_what_an_interrupted_play_has_kept_is_forgotten_by_the_next(
    members: list[str], launcher: str, kept: list[str], beside: bool
) -> None:
    asked = asked_for(members, launcher)
    found = made(asked, {name: blank(name) for name in members}, {})
    found[members[-1]]["kept"] = kept
    found[members[-1]]["docker"]["beside"] = [f"{PLACES['name']}.kept"] if beside else []
    wanted = [planning.FORGET] if kept or beside else []
    assert changes(asked, found) == {name: wanted if name == members[-1] else [] for name in members}


@pytest.mark.parametrize("launcher", ["swarm", "docker"])
def test_what_last_served_is_what_a_play_goes_back_to(launcher: str) -> None:
    asked, found = serving_pair(launcher)
    own = found["spark1"]["state"]["config"]
    plan = engine_plan.planned({**asked, "found": found})
    assert plan["last_good"] == "", "nothing is known to have served"
    assert plan["entry"] == {"repo": "lab/tiny", "commit": "", "config": own, "asked": {}}
    found["spark1"]["state"]["good"] = own
    assert engine_plan.planned({**asked, "found": found})["last_good"] == "", "it is the planned one itself"
    other = {**asked, "api_port": 9000}
    assert engine_plan.planned({**other, "found": found})["last_good"] == own
    found["spark1"]["state"].update(good=GOOD, phase="gave up")
    assert engine_plan.planned({**asked, "found": found})["last_good"] == GOOD, "the planned one has never served"


def test_the_firewalls_rules_of_before_are_told_to_go_back_to() -> None:
    asked, found = serving_pair(api_host="0.0.0.0")
    found["spark1"]["firewall"]["rules"].append({"rule": "limit 22/tcp", "comment": "a stranger's"})
    plan = engine_plan.planned({**asked, "found": found, "api_port": 9000})
    assert planning.FIREWALL in [one["name"] for one in plan["changes"]["spark1"]]
    before = plan["hosts"]["spark1"]["firewall_before"]
    assert [text for rule in before for text in spread(rule)] == ["allow 8355/tcp"]
    assert plan["hosts"]["spark2"]["firewall_before"] == []


def test_an_undo_takes_containers_away_that_an_interrupted_play_has_left() -> None:
    _asked, found = serving_pair("docker")
    found["spark1"]["docker"].update(container={}, beside=[f"{PLACES['name']}.next"])
    assert planning.REMOVE_CONTAINER in [one["name"] for one in planning.undo_changes(found, "spark1")]
