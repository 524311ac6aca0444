# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What swarm_gpu would change: each change where it is due, none once the changes are made, and what is refused."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace
from typing import Any, Callable
from unittest import mock

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.sparkops.dgx_spark.plugins.action import swarm_gpu_plan, swarm_gpu_report
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import swarm_plan as planner
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm import rank_labels
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.toolkit_plan import RESTART, DockerPlanError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError
from damaged import values
from hypothesis import given
from hypothesis import strategies as st

NVIDIA = '{"default-runtime": "nvidia", "runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}'
OUTSIDE: dict[str, Any] = {
    "active": False,
    "manager": False,
    "cluster_id": None,
    "node_id": None,
    "address": None,
    "managers": [],
    "pending": False,
}
WEB = {"Id": "0" * 64, "Names": ["/web"], "Image": "nginx", "Labels": {}}


def spark(number: int, **wanted: Any) -> dict[str, Any]:
    """A Spark that container_toolkit has configured, and that is in no swarm."""
    return {
        "gpus": [{"uuid": f"GPU-{number}"}],
        "toolkit": {"version": "1.19.0", "mode": "auto", "swarm_resource": None},
        "daemon": {"path": "/etc/docker/daemon.json", "text": NVIDIA},
        "engine": {
            "info": {"DefaultRuntime": "nvidia", "Runtimes": {"runc": {}, "nvidia": {}}},
            "containers": [],
        },
        "image": None,
        "swarm": {"place": dict(OUTSIDE), "problem": "", "nodes": [], "services": [], "networks": []},
        "host": {
            "hostname": f"spark{number}",
            "resolves": True,
            "clock": 1000.0,
            "routes": [["192.168.1.0/24", "eth0"]],
            "address": f"192.168.1.2{number}",
            "advertised": {"netdev": "enP7s7", "dynamic": False, "of": ""},
        },
        "ufw": {"installed": True, "enabled": False, "rules": ""},
        "wanted": {
            "kind": "gpu",
            "advertise_address": f"192.168.1.2{number}",
            "address_later": False,
            "address_pool": "",
            "allow_rejoin": False,
            "allow_restart": False,
            "firewall": "auto",
            **wanted,
        },
    }


def cluster(count: int = 2, **wanted: Any) -> dict[str, dict[str, Any]]:
    return {f"spark{number}": spark(number, **wanted) for number in range(1, count + 1)}


def plan(members: dict[str, Any], **toolkit: Any) -> dict[str, Any]:
    return planner.plan(members, toolkit, next(iter(members)))


def names(members: dict[str, Any], **toolkit: Any) -> dict[str, list[str]]:
    return {host: [one["name"] for one in some] for host, some in plan(members, **toolkit)["changes"].items()}


def node(number: int, **labels: str) -> dict[str, Any]:
    return {
        "ID": f"node{number}",
        "Spec": {"Labels": labels, "Availability": "active"},
        "Status": {"State": "ready"},
        "Description": {"Hostname": f"spark{number}"},
    }


def place(number: int, cluster_id: str = "ours") -> dict[str, Any]:
    return {
        **OUTSIDE,
        "active": True,
        "manager": number == 1,
        "cluster_id": cluster_id,
        "node_id": f"node{number}",
        "address": f"192.168.1.2{number}",
        "managers": ["192.168.1.21:2377"],
    }


def applied(members: dict[str, Any]) -> dict[str, Any]:
    """The members after the planned changes, as far as the plan tells them; SIMULATED Docker does the rest."""
    done, planned = copy.deepcopy(members), plan(members)
    for rank, (host, found) in enumerate(done.items()):
        for one in planned["changes"][host]:
            name, after = one["name"], one.get("diff", {}).get("after", "")
            if name == planner.IMAGE:
                found["image"] = "sha256:1"
            elif name == planner.ADVERTISE:
                found["daemon"]["text"] = after
            elif name == planner.SELECT:
                found["toolkit"]["swarm_resource"] = after.split('"')[1]
            elif name == RESTART:
                resources = [
                    entry.split("=") for entry in json.loads(found["daemon"]["text"])["node-generic-resources"]
                ]
                found["engine"]["info"]["GenericResources"] = [
                    {"NamedResourceSpec": {"Kind": kind, "Value": value}} for kind, value in resources
                ]
            elif name == planner.FIREWALL:
                rules = [f"ufw {line} comment '{planner.COMMENT}'\n" for line in after.splitlines()]
                found["ufw"]["rules"] = "".join(rules)
            elif name in (planner.CREATE, planner.JOIN):
                found["swarm"]["place"] = place(rank + 1)
            else:
                assert (name, rank) == (planner.LABEL, 0)
                done["spark1"]["swarm"]["nodes"] = [
                    node(number + 1, **rank_labels(number)) for number in range(len(done))
                ]
    return done


def test_a_docker_without_root_is_refused() -> None:
    members = cluster()
    members["spark2"]["engine"]["info"]["SecurityOptions"] = ["name=seccomp,profile=builtin", "name=rootless"]
    with pytest.raises(DockerPlanError, match=r"Docker on spark2 is rootless: .*Nothing was changed"):
        plan(members)


def test_two_blank_sparks() -> None:
    common = [planner.IMAGE, planner.ADVERTISE, planner.SELECT, RESTART]
    assert names(cluster()) == {
        "spark1": [*common, planner.CREATE, planner.LABEL],
        "spark2": [*common, planner.JOIN],
    }
    planned = plan(cluster())
    assert planned["steps"] == {"spark1": "enter", "spark2": "enter"}
    assert planned["gpus"] == {"spark1": ["GPU-1"], "spark2": ["GPU-2"]}
    assert "reads DOCKER_RESOURCE_<KIND>" in planned["gpu_selection"]["spark1"]
    advertise = planned["changes"]["spark2"][1]["diff"]
    assert (advertise["before"], json.loads(advertise["after"])["node-generic-resources"]) == (NVIDIA, ["gpu=GPU-2"])


@given(
    count=st.integers(1, 4),
    kind=st.sampled_from(["gpu", "other", "NVIDIA-GPU"]),
    firewall=st.sampled_from(["auto", "ufw", "none"]),
    enabled=st.booleans(),
    joined=st.integers(0, 4),
)
def test_planning_over_what_the_plan_makes_lists_nothing(
    count: int, kind: str, firewall: str, enabled: bool, joined: int
) -> None:
    members = cluster(count, kind=kind, firewall=firewall)
    for found in members.values():
        found["ufw"]["enabled"] = enabled
    if 0 < joined <= count:  # the others are new
        members |= applied({host: members[host] for host in list(members)[:joined]})
    done = applied(members)
    assert names(done) == {host: [] for host in members}
    planned = plan(done)
    assert (planned["entering"], planned["closed"]) == (False, [])
    assert planned["node_ids"] == {f"spark{number}": f"node{number}" for number in range(1, count + 1)}


def test_a_kind_is_advertised_and_selected_alike() -> None:
    changes = {one["name"]: one["diff"]["after"] for one in plan(cluster(1, kind="other"))["changes"]["spark1"][1:3]}
    assert '"other=GPU-1"' in changes[planner.ADVERTISE]
    assert changes[planner.SELECT] == 'swarm-resource = "DOCKER_RESOURCE_OTHER"\n'
    members = cluster()
    members["spark2"]["wanted"]["kind"] = "other"
    with pytest.raises(DockerPlanError, match="swarm_gpu_kind is gpu and other on different members"):
        plan(members)


def test_the_runtime_is_there_or_planned_in_this_play() -> None:
    members = cluster(1)
    members["spark1"]["daemon"]["text"] = ""
    members["spark1"]["engine"]["info"] |= {"DefaultRuntime": "runc", "Runtimes": {"runc": {}}}
    with pytest.raises(DockerPlanError, match=r"container_toolkit, .* was not planned in this play\. Nothing was"):
        plan(members)
    planned = plan(members, spark1={"version": "1.19.0-1"})["changes"]["spark1"]
    diff = next(one["diff"] for one in planned if one["name"] == planner.ADVERTISE)
    assert '"default-runtime": "nvidia"' in diff["before"]  # the part of container_toolkit is not shown twice
    assert RESTART in [one["name"] for one in planned]
    by_flag = cluster(1)
    by_flag["spark1"]["daemon"]["text"] = ""
    assert planner.ADVERTISE in names(by_flag)["spark1"]  # the engine has it, by a flag


def test_a_restart_for_the_other_role_is_planned_too() -> None:
    """container_toolkit configures, and leaves the restart to this role."""
    members = applied(cluster(1))
    members["spark1"]["daemon"]["text"] = json.dumps({"node-generic-resources": ["gpu=GPU-1"]})
    members["spark1"]["engine"]["info"] |= {"DefaultRuntime": "runc", "Runtimes": {"runc": {}}}
    assert names(members, spark1={"version": "1.19.0"}) == {"spark1": [RESTART]}
    members = applied(cluster(1))  # it had configured in an earlier run, which did not reach the restart
    members["spark1"]["engine"]["info"]["DefaultRuntime"] = "runc"
    assert names(members, spark1={"version": "1.19.0"}) == {"spark1": [RESTART]}


def test_a_toolkit_that_is_yet_to_be_installed() -> None:
    members = cluster(1)
    members["spark1"]["toolkit"]["version"] = None
    with pytest.raises(DockerPlanError, match="spark1 has no NVIDIA Container Toolkit"):
        plan(members)
    assert "not known" in plan(members, spark1={"version": None, "gpus": []})["gpu_selection"]["spark1"]
    members["spark1"]["gpus"] *= 2
    with pytest.raises(DockerPlanError, match=r"On spark1: .*does not read which of the 2 GPUs Swarm chose"):
        plan(members, spark1={"version": "1.18.2-1"})


def changed(number: int, path: str, value: Any, **wanted: Any) -> dict[str, Any]:
    """Two blank Sparks, but for one thing."""
    members = cluster(**wanted)
    target = members[f"spark{number}"]
    *parents, last = path.split(".")
    for parent in parents:
        target = target[parent]
    target[last] = value
    return members


THEIRS = {**place(2, "theirs"), "managers": ["192.168.9.9:2377"]}
DENY = "ufw deny from 192.168.1.21 to any port 2377 proto tcp\n"


# coreos/fedora-coreos-tracker#573 (2020-07-16), NVIDIA/nvidia-docker#712 (2018): live-restore from dockerd's flags
@pytest.mark.parametrize(
    ("text", "flags", "says"),
    [
        ("{}", {"live-restore": ["true"]}, "dockerd on spark2 has --live-restore on its command line"),
        ("{}", {"live-restore": ["true"]}, "systemctl cat docker"),
        ("", None, "it has the flag --live-restore, or the file said"),
        ("{}", {}, "Remove the flag if there is one (see where it comes from with 'systemctl cat docker')"),
        ('{"live-restore": true}', {}, 'daemon.json on spark2 sets "live-restore": true'),
    ],
)
def test_where_live_restore_comes_from(text: str, flags: Any, says: str) -> None:
    members = cluster()
    members["spark2"]["daemon"]["text"] = text
    members["spark2"]["engine"] |= {"flags": flags}
    members["spark2"]["engine"]["info"] |= {"LiveRestoreEnabled": True}
    with pytest.raises(DockerPlanError, match=r"Swarm does not work with it: .*Nothing was changed") as refusal:
        plan(members, spark1={}, spark2={})
    assert says in str(refusal.value)
    assert ("sets" in str(refusal.value)) is ("true" in text)


# NVIDIA/nvidia-docker#1345 (2020-07-08): all of it by flags; /info has the GPU already
BY_FLAGS = {
    "hosts": ["fd://"],
    "default-runtime": ["nvidia"],
    "runtimes": ["nvidia=/usr/bin/nvidia-container-runtime"],
    "node-generic-resources": ["gpu=GPU-1"],
}


def test_what_flags_of_dockerd_give_is_taken_as_done() -> None:
    found = spark(1)
    found["daemon"]["text"] = "{}"
    found["image"], found["toolkit"]["swarm_resource"] = "sha256:1", "DOCKER_RESOURCE_GPU"
    found["engine"] = {
        "info": {
            "LiveRestoreEnabled": False,
            "DefaultRuntime": "nvidia",
            "Runtimes": {"runc": {}, "nvidia": {}},
            "GenericResources": [{"NamedResourceSpec": {"Kind": "gpu", "Value": "GPU-1"}}],
        },
        "containers": [WEB],
        "flags": BY_FLAGS,
    }
    for toolkit in ({}, {"spark1": {}}):
        made = names({"spark1": found}, **toolkit)["spark1"]
        assert RESTART not in made
        assert planner.ADVERTISE not in made
    found["engine"]["flags"] = {**BY_FLAGS, "node-generic-resources": ["NVIDIA-GPU=GPU-1"]}
    with pytest.raises(DockerPlanError, match=r"daemon.json on spark1: .*--node-generic-resource NVIDIA-GPU=GPU-1"):
        plan({"spark1": found})


@pytest.mark.parametrize(
    ("resources", "flags", "said"),
    [
        (["NVIDIA-GPU=GPU-1"], [], "NVIDIA-GPU=GPU-1 beside gpu"),  # the kind of NVIDIA's own recipe
        ([" NVIDIA-GPU = GPU-1 "], [], "beside gpu"),
        (["gpu=GPU-1", "fpga=1"], [], ""),
        (["NVIDIA-GPU=GPU-9"], [], ""),
        ("NVIDIA-GPU=GPU-1", [], ""),
        ([None, "x"], [], ""),
    ],
)
def test_a_gpu_that_is_advertised_under_two_kinds_is_named(resources: Any, flags: list[str], said: str) -> None:
    members = cluster()
    found = members["spark1"]
    found["engine"]["flags"] = {"node-generic-resources": flags} if flags else {}
    assert bool(said) is bool(planner.resource_warnings("spark1", with_resources(found, resources)))
    if said:
        (warning,) = plan(members)["warnings"]
        assert said in warning
        assert "spark1 advertises a GPU" in warning


def with_resources(found: dict[str, Any], resources: Any) -> dict[str, Any]:
    found["daemon"]["text"] = json.dumps({**json.loads(NVIDIA), "node-generic-resources": resources})
    return found


def test_an_upgraded_docker_is_named_by_one_of_the_two_roles() -> None:
    members = cluster()
    members["spark1"]["engine"]["replaced"] = True
    assert "Docker was upgraded on spark1" in plan(members)["warnings"][0]
    assert plan(members, spark1={}, spark2={})["warnings"] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"default-runtime": "nvidia"}', "the default runtime 'nvidia' is not one of its runtimes (none)"),
        ('{"registry-mirrors": ["mirror.example"]}', "does not begin with https://"),
    ],
)
def test_a_file_that_docker_does_not_start_with_is_refused_before_the_restart(text: str, says: str) -> None:
    members = cluster()
    members["spark2"]["daemon"]["text"] = text
    with pytest.raises(DockerPlanError, match=r"daemon.json on spark2: Docker would not start") as refusal:
        plan(members)
    assert says in str(refusal.value)
    assert str(refusal.value).endswith("Nothing was changed.")


@pytest.mark.parametrize(
    ("members", "says"),
    [
        (changed(2, "daemon.text", '{"live-restore": true}'), 'on spark2 sets "live-restore": true'),
        (changed(2, "daemon.text", "{"), "/etc/docker/daemon.json on spark2: invalid JSON"),
        (changed(2, "host.resolves", False), "On spark2: its own name, 'spark2', does not resolve"),
        (changed(2, "host.clock", 8200.0), "On spark2: its clock is 7200 s ahead of its leader's"),
        (changed(2, "host.address", "192.168.1.21"), "have 192.168.1.21, 192.168.1.21 and spark1, spark2"),
        (changed(2, "host.hostname", "spark1"), "and spark1, spark1"),
        (changed(2, "swarm.problem", "Docker is in a swarm, in state 'error'"), "On spark2: Docker is in a swarm"),
        (changed(2, "swarm.place", THEIRS), "On spark2: it is in another swarm than its leader"),
        (changed(2, "engine.containers", [WEB]), "web (nginx)"),
        (changed(1, "wanted.address_pool", "192.168.0.0/16"), "On spark1: networks of the swarm meet networks"),
        (changed(2, "ufw.installed", False, firewall="ufw"), "spark2 has no ufw"),
        (
            changed(2, "ufw", {"installed": True, "enabled": True, "rules": DENY}),
            "On spark2: ufw has the rule",
        ),
        (
            changed(2, "ufw", {"installed": True, "enabled": True, "rules": "ufw deny 2377/tcp\n"}),
            "On spark2: ufw has the rule 'deny 2377/tcp' of another owner before 'allow from 192.168.1.21 to any port ",
        ),
        ({"spark1": spark(1), "spark2": {"failed": True}}, "spark2 could not be read"),
    ],
)
def test_what_cannot_be_is_refused(members: dict[str, Any], says: str) -> None:
    with pytest.raises(DockerPlanError, match="Nothing was changed") as refusal:
        plan(members)
    assert says in str(refusal.value)


def test_consent_for_a_restart_is_this_roles() -> None:
    members = changed(2, "engine.containers", [WEB], allow_restart=True)
    assert RESTART in names(members)["spark2"]
    members["spark2"]["wanted"]["allow_restart"] = False
    with pytest.raises(DockerPlanError, match="swarm_gpu_allow_restart: true"):
        plan(members)


def test_a_member_of_another_swarm_leaves_with_consent_and_without_services() -> None:
    members = changed(2, "swarm.place", {**place(2, "theirs"), "manager": True}, allow_rejoin=True)
    planned = plan(members)
    assert (planned["steps"]["spark2"], planned["node_ids"]["spark2"]) == ("rejoin", None)
    join = next(one for one in planned["changes"]["spark2"] if one["name"] == planner.JOIN)
    assert join["diff"]["before"].startswith("swarm theirs")
    assert planned["in_swarm"] == ["spark2"]
    members["spark2"]["swarm"]["services"] = ["web"]
    with pytest.raises(DockerPlanError, match="On spark2: services still run in the swarm: web"):
        plan(members)


def test_a_worker_more_and_one_that_was_re_imaged() -> None:
    members = applied(cluster()) | {"spark3": spark(3)}
    assert names(members)["spark1"] == [planner.LABEL]
    assert names(members)["spark2"] == []
    members = applied(cluster())
    members["spark2"]["swarm"]["place"] = dict(OUTSIDE)
    assert names(members) == {"spark1": [planner.LABEL], "spark2": [planner.JOIN]}
    label = plan(members)["changes"]["spark1"][0]["diff"]
    assert "former member spark2 (node2)" in label["before"]


def test_former_members_and_lost_labels_are_seen() -> None:
    members = applied(cluster())
    members["spark1"]["swarm"]["nodes"].append(node(3, **rank_labels(2)))
    assert names(members) == {"spark1": [planner.LABEL], "spark2": []}
    assert "former member spark3 (node3)" in plan(members)["changes"]["spark1"][0]["diff"]["before"]
    members = applied(cluster())
    members["spark1"]["swarm"]["nodes"][1]["Spec"]["Labels"] = {"mine": "1"}
    diff = plan(members)["changes"]["spark1"][0]["diff"]
    assert "spark2: dgx_spark.rank=1" in set(diff["after"].splitlines()) - set(diff["before"].splitlines())
    assert "spark2: mine=1" in diff["after"]


def test_networks_of_the_swarm_that_meet_a_members_are_refused_later_too() -> None:
    members = applied(cluster())
    members["spark1"]["swarm"]["networks"] = ["10.0.0.0/24"]
    members["spark2"]["host"]["routes"].append(["10.0.0.0/8", "fabric"])
    with pytest.raises(DockerPlanError, match=r"On spark2: .*10\.0\.0\.0/24 of the swarm and 10\.0\.0\.0/8 on fabric"):
        plan(members)


def test_the_firewall_is_opened_for_the_other_members_alone() -> None:
    members = cluster(3)
    members["spark2"]["ufw"]["enabled"] = True
    planned = planner.plan(members, {}, "spark2")
    assert planned["closed"] == ["spark2"]
    assert planned["rules"][0] == {"from_ip": ["192.168.1.21", "192.168.1.23"], "to_port": [2377, 7946], "proto": "tcp"}
    diff = next(one["diff"] for one in planned["changes"]["spark2"] if one["name"] == planner.FIREWALL)
    assert len(diff["after"].splitlines()) == 8
    assert plan(cluster(1, firewall="ufw"))["changes"]["spark1"][-2]["name"] == planner.CREATE  # nobody to open it for


@pytest.mark.parametrize("joined", [False, True])
def test_an_address_by_dhcp_is_warned_of_on_its_host_and_in_no_way(joined: bool) -> None:
    members = cluster()
    if joined:
        members = applied(members)
    assert plan(members)["warnings"] == []
    members["spark2"]["host"]["advertised"]["dynamic"] = True
    assert plan(members)["warnings"] == [], "the other host's"
    (warning,) = planner.plan(members, {}, "spark2")["warnings"]
    assert "spark2 advertises 192.168.1.22 to the swarm, which enP7s7 has by DHCP" in warning
    assert "Reserve 192.168.1.22 for it in the router" in warning


@pytest.mark.parametrize(
    ("of", "netdev", "words"),
    [("docker", "docker0", "Docker's own network"), ("fabric", "enp1s0f0np0", "a link of the fabric")],
)
def test_a_name_that_means_another_network_is_refused_and_an_address_is_taken(of: str, netdev: str, words: str) -> None:
    """A host may find an address of docker0 or of the fabric under its own name, since avahi publishes all of them."""
    members = cluster()
    members["spark2"]["host"]["advertised"] = {"netdev": netdev, "dynamic": False, "of": of}
    assert planner.JOIN in names(members)["spark2"], "the address itself was asked for"
    members["spark2"]["wanted"]["advertise_address"] = "spark2.local"
    with pytest.raises(DockerPlanError) as refused:
        plan(members)
    said = str(refused.value)
    assert f"On spark2: the name 'spark2.local' means 192.168.1.22 there, on {netdev}, which is {words}" in said
    assert "Nothing was changed" in said
    assert "swarm_gpu_advertise_address" in said
    members["spark1"]["host"]["address"] = "192.168.1.22"  # as where both find docker0's under their names
    with pytest.raises(DockerPlanError, match=f"which is {words}"):
        plan(members)
    members["spark1"]["host"]["address"] = "192.168.1.21"
    members["spark2"]["host"]["advertised"]["of"] = ""
    assert planner.JOIN in names(members)["spark2"]


def test_a_member_that_is_in_the_swarm_already_is_not_refused_for_its_name() -> None:
    members = applied(cluster())
    members["spark2"]["host"]["advertised"] = {"netdev": "enp1s0f0np0", "dynamic": False, "of": "fabric"}
    members["spark2"]["wanted"]["advertise_address"] = "spark2.local"
    assert names(members)["spark2"] == []


def test_the_actions() -> None:
    plugin = swarm_gpu_plan.ActionModule.__new__(swarm_gpu_plan.ActionModule)
    found = plugin.plan({"members": cluster(), "toolkit": {}}, {"inventory_hostname": "spark2"})
    assert found["rules"][0]["from_ip"] == ["192.168.1.21"]
    report = swarm_gpu_report.ActionModule.__new__(swarm_gpu_report.ActionModule)
    nodes = {"spark2": {"rank": 1}, "spark1": {"rank": 0}}
    assert list(report.plan({"members": ["spark1", "spark2"], "nodes": nodes}, {})["nodes"]) == ["spark1", "spark2"]
    with pytest.raises(PlanError, match="the leader did not check spark2"):
        report.plan({"members": ["spark1", "spark2"], "nodes": {"spark1": {}}}, {})


def in_swarm() -> dict[str, Any]:
    """Two members of a swarm, as far as the plan reads it."""
    members = cluster()
    for number, found in enumerate(members.values(), start=1):
        found["swarm"]["place"] = place(number)
    members["spark1"]["swarm"]["nodes"] = [node(1), node(2, **{"dgx_spark.rank": "1"})]
    members["spark1"]["swarm"]["networks"] = ["10.0.0.0/24"]
    return members


@given(members=values(in_swarm(), whole=False) | values(cluster(), whole=False))
def test_a_plan_of_damaged_answers_is_made_or_refused_in_words(members: dict[str, Any]) -> None:
    plugin = swarm_gpu_plan.ActionModule.__new__(swarm_gpu_plan.ActionModule)
    plugin._task = SimpleNamespace(action="swarm_gpu_plan")
    plugin.validate_argument_spec = lambda argument_spec: (None, {"members": members, "toolkit": {}})
    with mock.patch.object(ActionBase, "run"):
        done = plugin.run(None, {"inventory_hostname": "spark1"})
    if done.get("failed"):
        assert "Nothing was changed" in done["msg"]
        assert len(done["msg"].split()) > 5


@pytest.mark.parametrize("pool", ["10.250.0.1/16", "10.250.0.0/33", "fd00::/64", "x"])
def test_a_pool_that_is_no_network_is_named(pool: str) -> None:
    with pytest.raises(DockerPlanError, match=r"On spark1: .* is no IPv4 network .*_address_pool.*Nothing was"):
        plan(cluster(address_pool=pool))


def complete() -> dict[str, dict[str, Any]]:
    """Two Sparks as planned, and what the leader's engine tells of their nodes."""
    members = applied(cluster())
    for number, one in enumerate(members["spark1"]["swarm"]["nodes"], 1):
        one["Status"]["Addr"] = f"192.168.1.2{number}"
        one["ManagerStatus"] = {"Addr": "192.168.1.21:2377" if number == 1 else ""}
        gpu = {"NamedResourceSpec": {"Kind": "gpu", "Value": f"GPU-{number}"}}
        one["Description"]["Resources"] = {"GenericResources": [gpu]}
    return members


def test_nodes_that_are_ready_with_their_gpus_are_reported_from_what_was_read() -> None:
    assert plan(complete())["nodes"] == {
        "spark1": {"node_id": "node1", "address": "192.168.1.21", "rank": 0},
        "spark2": {"node_id": "node2", "address": "192.168.1.22", "rank": 1},
    }


@pytest.mark.parametrize(
    "spoil",
    [
        lambda members: members["spark1"]["swarm"]["nodes"][1]["Status"].update(State="down"),
        lambda members: members["spark1"]["swarm"]["nodes"][1]["Status"].update(Addr="192.168.1.99"),
        lambda members: members["spark1"]["swarm"]["nodes"][1]["Spec"].update(Availability="drain"),
        lambda members: members["spark1"]["swarm"]["nodes"][1]["Description"].pop("Resources"),
        lambda members: members["spark1"]["swarm"]["nodes"].pop(),
        lambda members: members["spark2"]["swarm"].update(place=dict(OUTSIDE)),
    ],
    ids=["down", "elsewhere", "drained", "without its GPU", "unknown", "outside"],
)
def test_nodes_are_to_be_read_again_where_one_is_not_ready(spoil: Callable[[Any], Any]) -> None:
    members = complete()
    spoil(members)
    assert plan(members)["nodes"] == {}
