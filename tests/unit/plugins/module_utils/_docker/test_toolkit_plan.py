# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What container_toolkit would change: each change where it is due, and none once the changes are made."""

from __future__ import annotations

import copy
import doctest
import json
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.sparkops.dgx_spark.plugins.action.container_toolkit_plan import ActionModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import toolkit_plan as planner
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.toolkit_plan import DockerPlanError, plan
from damaged import values
from hypothesis import given
from hypothesis import strategies as st

UUID = "GPU-e793e0a4-fd41-dcd8-a833-3127370a6779"
PATHS = {purpose: f"/etc/apt/{purpose}" for purpose in ("key", "source", "pin", "proxy")}
WANTED: dict[str, Any] = {
    "version": "",
    "docker_user": "",
    "probe_image": "",
    "allow_restart": False,
    "replace_default_runtime": False,
    "repository_url": "https://apt.example/stable/deb",
    "proxy": "",
    "apt_files": PATHS,
}
WEB = {"Id": "0" * 64, "Names": ["/web"], "Image": "nginx", "Labels": {}}


def blank(**wanted: Any) -> dict[str, Any]:
    """A Spark as it is delivered: the toolkit is there, Docker does not use it."""
    return {
        "gpus": [{"uuid": UUID}],
        "toolkit": {"version": "1.19.0", "mode": "auto", "swarm_resource": None},
        "packages": {
            "installed": True,
            "package_version": "1.19.0-1",
            "offered": [],
            "apt_files": dict.fromkeys(PATHS),
        },
        "daemon": {"path": "/etc/docker/daemon.json", "text": ""},
        "engine": {"info": {"DefaultRuntime": "runc", "Runtimes": {"runc": {}}}, "containers": []},
        "group": {"members": ["owner"], "user_exists": True},
        "image": None,
        "wanted": {**WANTED, **wanted},
    }


def without_toolkit(*offered: str, **wanted: Any) -> dict[str, Any]:
    found = blank(**wanted)
    found["toolkit"] = {"version": None, "mode": "auto", "swarm_resource": None}
    found["packages"] |= {"installed": False, "package_version": None, "offered": list(offered)}
    return found


def names(found: dict[str, Any]) -> list[str]:
    return [one["name"] for one in plan({"spark1": found}, "spark1")["changes"]["spark1"]]


def applied(found: dict[str, Any]) -> dict[str, Any]:
    """The host after the planned changes, as far as the plan tells them; SIMULATED apt and Docker do the rest."""
    done, planned = copy.deepcopy(found), plan({"spark1": found}, "spark1")
    for one in planned["changes"]["spark1"]:
        name, after = one["name"], one.get("diff", {}).get("after", "")
        if name == planner.KEY:
            done["packages"]["apt_files"]["key"] = "key"
        elif name in (planner.SOURCE, planner.PROXY, planner.PIN):
            purpose = {planner.SOURCE: "source", planner.PROXY: "proxy", planner.PIN: "pin"}[name]
            assert one["diff"]["before_header"] == PATHS[purpose]
            done["packages"]["apt_files"][purpose] = after
        elif name == planner.INSTALL:
            done["packages"] |= {"installed": True, "offered": [], "package_version": after.strip()}
            done["toolkit"]["version"] = "1.19.0"
        elif name == planner.IMAGE:
            done["image"] = "sha256:1"
        elif name == planner.CONFIGURE:
            done["daemon"]["text"] = after
        elif name == planner.GROUP:
            done["group"]["members"] = after.split()
        else:
            assert name == planner.RESTART
            config = json.loads(done["daemon"]["text"])
            done["engine"]["info"] |= {"DefaultRuntime": config["default-runtime"], "Runtimes": config["runtimes"]}
    return done


def test_a_blank_spark() -> None:
    planned = plan({"spark1": blank()}, "spark1")
    assert names(blank()) == [planner.IMAGE, planner.CONFIGURE, planner.RESTART]
    diff = planned["changes"]["spark1"][1]["diff"]
    assert (diff["before"], json.loads(diff["after"])["default-runtime"]) == ("", "nvidia")
    assert planned["gpus"] == planned["hosts"]["spark1"]["gpus"] == [UUID]
    assert planned["hosts"]["spark1"]["daemon_json"] == diff["after"]
    assert planned["simulate"] is False


@given(
    toolkit=st.sampled_from(["there", "missing", "offered"]),
    version=st.sampled_from(["", "1.18.2-1", "1.19.0-1"]),
    user=st.sampled_from(["", "nvidia", "owner"]),
    proxy=st.sampled_from(["", "http://proxy.example:3128"]),
    text=st.sampled_from(["", "{}", '{"debug": true}', '{\n  "runtimes": {"nvidia": {"path": "/opt/nvidia"}}\n}\n']),
    image=st.sampled_from(["", "nvcr.io/x:1"]),
)
def test_planning_over_what_the_plan_makes_lists_nothing(
    toolkit: str, version: str, user: str, proxy: str, text: str, image: str
) -> None:
    wanted = {"version": version, "docker_user": user, "proxy": proxy, "probe_image": image}
    offered = ["1.19.0-1", "1.18.2-1"] if toolkit == "offered" else []
    found = blank(**wanted) if toolkit == "there" else without_toolkit(*offered, **wanted)
    if toolkit == "there" and version == "1.18.2-1":
        found["packages"] |= {"installed": False, "offered": ["1.19.0-1", "1.18.2-1"]}
    found["daemon"]["text"], found["image"] = text, image or None
    assert names(found)
    assert names(applied(found)) == []


def test_a_missing_toolkit_comes_from_the_hosts_sources_or_from_a_repository_that_is_added() -> None:
    own = without_toolkit("1.20.0-1", "1.19.0-1")
    assert names(own)[0] == planner.INSTALL
    planned = plan({"spark1": own}, "spark1")
    assert (planned["simulate"], planned["hosts"]["spark1"]["version"], planned["files"]) == (True, "1.20.0-1", {})
    added = without_toolkit(proxy="http://proxy.example:3128", version="1.19.0-1")
    assert names(added)[:5] == [planner.KEY, planner.SOURCE, planner.PROXY, planner.PIN, planner.INSTALL]
    planned = plan({"spark1": added}, "spark1")
    assert (planned["simulate"], planned["hosts"]["spark1"]["version"]) == (False, "1.19.0-1")
    assert (
        f"URIs: https://apt.example/stable/deb/$(ARCH)\nSuites: /\nSigned-By: {PATHS['key']}"
        in planned["files"]["source"]
    )
    assert 'Acquire::https::Proxy::apt.example "http://proxy.example:3128";' in planned["files"]["proxy"]
    assert "Pin: version 1.19.0-1" in planned["files"]["pin"]
    assert plan({"spark1": without_toolkit()}, "spark1")["hosts"]["spark1"]["version"] is None


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (without_toolkit(repository_url=""), "apt sources have no nvidia-container-toolkit"),
        (without_toolkit("1.20.0-1", "1.19.0-1", version="1.21.0-1"), "apt sources have 1.20.0-1, 1.19.0-1"),
        ({**blank(), "daemon": {"path": "daemon.json", "text": "{"}}, "daemon.json on spark1: invalid JSON in line 1"),
        (
            {**blank(), "daemon": {"path": "daemon.json", "text": '{"default-runtime": "runc"}'}},
            'daemon.json on spark1 sets "default-runtime": "runc"',
        ),
        ({**blank(docker_user="x"), "group": {"members": [], "user_exists": False}}, "spark1 has no user x"),
        ({**blank(docker_user="x"), "group": {"members": None, "user_exists": True}}, "spark1 has no group docker"),
        ({"failed": True, "msg": "no"}, "spark1 could not be read"),
    ],
)
def test_what_cannot_be_is_refused(found: dict[str, Any], says: str) -> None:
    with pytest.raises(DockerPlanError, match="Nothing was changed") as refusal:
        plan({"spark1": found}, "spark1")
    assert says in str(refusal.value)


#: as Docker's /info has it of an engine that a user runs (docs.docker.com, "Rootless mode")
ROOTLESS = ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]


@pytest.mark.parametrize("found", [blank(), without_toolkit(), without_toolkit(repository_url="")])
def test_a_docker_without_root_is_refused_before_all_else(found: dict[str, Any]) -> None:
    found["engine"]["info"]["SecurityOptions"] = ROOTLESS
    with pytest.raises(DockerPlanError, match="Nothing was changed") as refusal:
        plan({"spark1": found}, "spark1")
    assert "Docker on spark1 is rootless" in str(refusal.value)
    assert "~/.config/docker/daemon.json" in str(refusal.value)


@pytest.mark.parametrize(
    "options", [None, [], ["name=seccomp,profile=default", "name=cgroupns"], ["name=userns"], ["rootless"], [None, 1]]
)
def test_a_docker_with_root_is_taken(options: Any) -> None:
    found = blank()
    found["engine"]["info"]["SecurityOptions"] = options
    assert planner.CONFIGURE in names(found)


def test_a_restart_under_containers_needs_consent() -> None:
    found = blank()
    found["engine"]["containers"] = [WEB]
    with pytest.raises(DockerPlanError, match=r"On spark1: .* web \(nginx\).*container_toolkit_allow_restart: true"):
        plan({"spark1": found}, "spark1")
    found["wanted"]["allow_restart"] = True
    assert planner.RESTART in names(found)
    found["wanted"]["allow_restart"] = False
    found["engine"]["info"]["LiveRestoreEnabled"] = True  # they survive
    assert planner.RESTART in names(found)
    converged = applied(blank())
    converged["engine"]["containers"] = [WEB]
    assert names(converged) == []


def test_a_restart_that_an_earlier_run_did_not_reach_is_due() -> None:
    found = applied(blank())
    found["engine"]["info"]["DefaultRuntime"] = "runc"
    assert names(found) == [planner.RESTART]


def test_a_file_that_says_what_a_flag_said_is_restarted_for() -> None:
    found = blank()
    found["engine"]["info"] = {"DefaultRuntime": "nvidia", "Runtimes": {"nvidia": {}}}
    assert names(found) == [planner.IMAGE, planner.CONFIGURE, planner.RESTART]


# NVIDIA/nvidia-docker#761 (2018-06-09) and #1345 (2020-07-08), NVIDIA/deepops#305 and #351 (2019, DGX OS): options by
# flags in a drop-in of the unit. dockerd does not start where one of them is in daemon.json too.
BY_FLAGS = {
    "hosts": ["fd://"],
    "default-runtime": ["nvidia"],
    "runtimes": ["nvidia=/usr/bin/nvidia-container-runtime"],
}
#: what Docker's /info says of these
WITH_FLAGS = {
    "LiveRestoreEnabled": False,
    "DefaultRuntime": "nvidia",
    "Runtimes": {"runc": {}, "nvidia": {}},
    "Swarm": {"LocalNodeState": "inactive"},
    "ServerVersion": "29.0.0",
}


def flagged(**flags: list[str]) -> dict[str, Any]:
    found = blank()
    found["engine"] = {"info": dict(WITH_FLAGS), "containers": [WEB], "flags": {**BY_FLAGS, **flags}}
    found["image"] = "sha256:1"
    return found


@pytest.mark.parametrize("text", ["", "{}", '{"log-driver": "journald"}'])
def test_what_flags_of_dockerd_give_is_taken_as_done(text: str) -> None:
    found = flagged()
    found["daemon"]["text"] = text
    assert names(found) == []
    assert plan({"spark1": found}, "spark1")["hosts"]["spark1"]["daemon_json"] == text


def test_what_flags_leave_open_is_written() -> None:
    found = flagged(**{"runtimes": ["other=/x"]})
    found["engine"]["containers"] = []
    assert names(found) == [planner.CONFIGURE, planner.RESTART]
    text = plan({"spark1": found}, "spark1")["hosts"]["spark1"]["daemon_json"]
    assert json.loads(text) == {"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}


@pytest.mark.parametrize(
    ("text", "flags", "info", "says"),
    [
        ("", {"default-runtime": ["runc"]}, {}, "--default-runtime runc on its command line, and nvidia is wanted"),
        ("", {"config-file": ["/etc/other.json"]}, {}, "dockerd reads /etc/other.json instead"),
        ('{"hosts": []}', {"hosts": ["fd://"]}, {}, "'hosts' is in it and among dockerd's flags"),
        ('{"live-restore": true}', {}, {"Swarm": {"LocalNodeState": "active"}}, "live-restore is on, and Docker is in"),
        ('{"runtimes": {"x": {}}}', {}, {}, "the runtime 'x' has neither a path"),
        ('{"registry-mirrors": ["mirror.example"]}', {}, {}, "does not begin with https://"),
    ],
)
def test_what_docker_does_not_start_with_is_refused_before_anything_changes(
    text: str, flags: dict[str, Any], info: dict[str, Any], says: str
) -> None:
    found = blank()
    found["daemon"]["text"], found["engine"]["flags"] = text, flags
    found["engine"]["info"] |= info
    with pytest.raises(DockerPlanError, match=r"daemon.json on spark1: .*Nothing was changed") as refusal:
        plan({"spark1": found}, "spark1")
    assert says in str(refusal.value)
    assert str(refusal.value).count("Nothing was changed") == 1


def test_a_file_that_docker_would_not_start_with_is_no_matter_without_a_restart() -> None:
    found = applied(blank())
    found["daemon"]["text"] = found["daemon"]["text"].replace("{", '{"registry-mirrors": ["mirror.example"],', 1)
    assert names(found) == []


# nvidia-ctk 1.19.1 and 1.20.0, runtime configure --runtime=docker --cdi.enabled: every other feature is gone, and the
# arguments of the runtime (NVIDIA/nvidia-container-toolkit#2049, 2026-09-05)
BEFORE = {
    "features": {"containerd-snapshotter": False, "buildkit": True},
    "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": ["--debug"]}},
}
CDI = {
    "default-runtime": "nvidia",
    "features": {"cdi": True},
    "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}},
}


def configured_by_nvidia_ctk(config: dict[str, Any] = CDI, original: Any = BEFORE, **info: Any) -> dict[str, Any]:
    found = applied(blank())
    found["daemon"] = {
        "path": "/etc/docker/daemon.json",
        "text": json.dumps(config),
        "original": original if original is None or isinstance(original, str) else json.dumps(original),
    }
    found["engine"]["info"] |= info
    return found


def warnings(found: dict[str, Any]) -> list[str]:
    return plan({"spark1": found}, "spark1")["warnings"]


def test_features_that_nvidia_ctk_took_out_are_named_in_the_plan() -> None:
    found = configured_by_nvidia_ctk()
    assert names(found) == []
    (said,) = warnings(found)
    assert "/etc/docker/daemon.json on spark1 has" in said
    assert (
        'features.containerd-snapshotter: false, features.buildkit: true, runtimes.nvidia.runtimeArgs: ["--debug"]'
        in said
    )
    assert "finds none of them after a restart" in said
    found["engine"]["info"]["DefaultRuntime"] = "runc"  # a restart would follow
    with pytest.raises(DockerPlanError, match=r"features\.containerd-snapshotter: false.*Nothing was changed"):
        plan({"spark1": found}, "spark1")


def test_features_of_less_weight_do_not_keep_docker_from_a_restart() -> None:
    found = configured_by_nvidia_ctk(original={"features": {"buildkit": True}}, DefaultRuntime="runc")
    assert names(found) == [planner.RESTART]
    assert "features.buildkit: true" in warnings(found)[0]
    assert "finds none" not in warnings(found)[0]


def test_an_engine_that_still_runs_with_a_feature_tells_of_it() -> None:
    still = {"store": "containerd", "ServerVersion": "28.5.2"}
    assert "features.containerd-snapshotter: true" in warnings(configured_by_nvidia_ctk(original=None, **still))[0]
    newer = {"store": "containerd", "ServerVersion": "29.1.3"}  # which has it without the feature
    assert warnings(configured_by_nvidia_ctk(original=None, **newer)) == []


@pytest.mark.parametrize(
    ("config", "original"),
    [
        (CDI, None),
        (CDI, ""),
        (CDI, "{ not JSON"),
        (CDI, {"features": {"cdi": True}}),
        (CDI, {"features": None, "runtimes": {"nvidia": None}}),
        (CDI, {"runtimes": []}),
        ({**CDI, "features": {"cdi": True, "buildkit": True}}, BEFORE),
        ({**CDI, "features": {"cdi": False}}, BEFORE),
        ({**CDI, "features": None}, BEFORE),
        ({key: value for key, value in CDI.items() if key != "features"}, BEFORE),
    ],
)
def test_nothing_else_is_taken_for_nvidia_ctk(config: dict[str, Any], original: Any) -> None:
    assert warnings(configured_by_nvidia_ctk(config, original)) == []


# Debian's docker.io 26.1.5: an upgrade only starts Docker where it does not run, and leaves the old daemon
@pytest.mark.parametrize(
    ("replaced", "runs", "package", "says"),
    [
        (True, "26.1.5+dfsg1", "28.0.1+dfsg1-1", ["docker.io is 28.0.1+dfsg1-1", "runs as version 26.1.5+dfsg1"]),
        (True, "26.1.5+dfsg1", "26.1.5+dfsg1-9+deb13u2", ["Its file was replaced", "runs as version 26.1.5+dfsg1"]),
        (True, "26.1.5", None, ["Its file was replaced", "sudo systemctl restart docker"]),
        (None, "29.0.0", "5:29.1.3-1~ubuntu.24.04~noble", ["docker.io is 5:29.1.3-1~ubuntu.24.04~noble"]),
        (None, "29.1.3", "5:29.1.3-1~ubuntu.24.04~noble", []),
        (False, "29.0.0", "5:29.1.3-1~ubuntu.24.04~noble", []),  # another dockerd than the package's runs
        (False, "26.1.5+dfsg1", "26.1.5+dfsg1-9+deb13u1+b1", []),
        (None, None, None, []),
    ],
)
def test_a_docker_that_was_upgraded_while_it_ran_is_named(
    replaced: bool | None, runs: str | None, package: str | None, says: list[str]
) -> None:
    found = applied(blank())
    found["engine"] |= {"replaced": replaced}
    found["engine"]["info"]["ServerVersion"] = runs
    found["packages"] |= {"engine": package and "docker.io", "engine_version": package}
    said = warnings(found)
    assert len(said) == bool(says)
    for words in says:
        assert words in said[0]


def test_the_owners_default_runtime_is_replaced_with_consent() -> None:
    found = blank(replace_default_runtime=True)
    found["daemon"]["text"] = '{"default-runtime": "runc"}'
    assert names(found) == [planner.IMAGE, planner.CONFIGURE, planner.RESTART]


def test_every_member_is_in_the_plan_with_its_own_options() -> None:
    members = {
        "spark1": applied(blank()),
        "spark2": {**applied(blank()), "wanted": {**WANTED, "docker_user": "nvidia"}},
    }
    for host in members:
        changes = plan(members, host)["changes"]
        assert {name: [one["name"] for one in some] for name, some in changes.items()} == {
            "spark1": [],
            "spark2": [planner.GROUP],
        }


def test_the_action_plans_for_its_host() -> None:
    plugin = ActionModule.__new__(ActionModule)
    found = plugin.plan({"members": {"spark1": blank()}}, {"inventory_hostname": "spark1"})
    assert list(found["changes"]) == ["spark1"]


def test_no_diff_shows_the_password_of_a_proxy() -> None:
    added = without_toolkit(proxy="http://me:secret@proxy.example:3128")
    change = next(one for one in plan({"spark1": added}, "spark1")["changes"]["spark1"] if one["name"] == planner.PROXY)
    assert "secret" not in str(change)
    assert "http://***@proxy.example:3128" in change["diff"]["after"]


def run_planner(members: Any) -> dict[str, Any]:
    """What the task returns, without Ansible around it."""
    plugin = ActionModule.__new__(ActionModule)
    plugin._task = SimpleNamespace(action="container_toolkit_plan")
    plugin.validate_argument_spec = lambda argument_spec: (None, {"members": members})
    with mock.patch.object(ActionBase, "run"):
        return plugin.run(None, {"inventory_hostname": "spark1"})


@given(members=values({"spark1": blank(), "spark2": configured_by_nvidia_ctk()}, whole=False))
def test_a_plan_of_damaged_answers_is_made_or_refused_in_words(members: dict[str, Any]) -> None:
    done = run_planner(members)
    if done.get("failed"):
        assert "Nothing was changed" in done["msg"]
        assert len(done["msg"].split()) > 5


def test_what_no_module_returned_is_named() -> None:
    assert "spark1 could not be read" in run_planner({"spark1": None})["msg"]
    said = run_planner({"spark1": {**blank(), "gpus": None}})
    assert "container_toolkit_plan cannot make a plan of what it was given" in said["msg"]
    assert "toolkit_plan.py" in said["exception"]


def test_doctests() -> None:
    assert doctest.testmod(planner).failed == 0
