# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of Docker: the engine, its Swarm, and what a serving container was started with, without its secrets."""

from __future__ import annotations

import calendar
from pathlib import Path
from typing import Any, Iterator

import fake_docker
import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import service
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import containers, facts
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.bounded import UnreadError

ID = "a" * 64
LISTED = {"Id": ID, "Names": ["/vllm"], "Image": "vllm/vllm-openai:v0.28.0", "ImageID": "sha256:1", "State": "running"}
TOLD = {
    "HostConfig": {
        "NetworkMode": "host",
        "IpcMode": "host",
        "Devices": [{"PathOnHost": "/dev/infiniband"}],
        "Ulimits": [{"Name": "memlock", "Soft": -1}],
    },
    "Config": {
        "Env": [
            "HF_TOKEN=hf_abcdefghijklmnopqr",
            "NCCL_IB_HCA=rocep1s0f0",
            "MAX_NUM_TOKENS=5",
            "EMPTY_TOKEN=",
            "PATH=/bin",
        ],
        "Entrypoint": ["vllm"],
        "Cmd": ["serve", "--hf-token", "hf_abcdefghijklmnopqr", "--api-key", "Xq81mSecretValue77", "--port", "1"],
        "User": "1000",
    },
    "State": {"ExitCode": 137, "OOMKilled": True},
    "RestartCount": 4,
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Any]:
    """SIMULATED: a Docker with one serving container of others, a manager of a Swarm."""
    one = fake_docker.Engine()
    one.info.update(
        ServerVersion="29.0.0",
        Runtimes={"nvidia": {}, "runc": {}},
        GenericResources=[{"NamedResourceSpec": {"Kind": "gpu", "Value": "GPU-1"}}],
        Swarm={"LocalNodeState": "active", "ControlAvailable": True, "NodeAddr": "10.0.0.1", "RemoteManagers": None},
    )
    one.answers.update({("GET", "/containers/json"): [LISTED], ("GET", f"/containers/{ID}/json"): TOLD})
    one.answers["GET", f"/containers/{ID}/top"] = {"Titles": ["UID", "PID"], "Processes": [["root", "77"]]}
    said = b"10%|#\r20%|## token hf_abcdefghijklmnopqr\nlast line here\n"
    one.answers["GET", "/containers/vllm/logs"] = bytes([1, 0, 0, 0, 0, 0, 0, len(said)]) + said
    with fake_docker.listening(one, tmp_path / "docker.sock") as path:
        one.docker = Docker(path)
        yield one


def test_what_the_engine_says(engine: Any) -> None:
    found = containers.docker_info(engine.docker)
    assert (found["version"], found["runtimes"], found["resources"]) == ("29.0.0", ["nvidia", "runc"], ["gpu=GPU-1"])
    assert found["swarm"] == {"state": "active", "error": "", "address": "10.0.0.1", "manager": True, "managers": []}


def test_a_container_without_its_secrets(engine: Any) -> None:
    (one,) = containers.containers(engine.docker)
    more = one["more"]
    assert (one["name"], one["serves"], more["network"], more["ipc"], more["user"]) == (
        "vllm",
        "other",
        "host",
        "host",
        "1000",
    )
    assert (more["infiniband"], more["memlock"], more["exit"], more["oom_killed"], more["restarts"]) == (
        True,
        -1,
        137,
        True,
        4,
    )
    assert more["variables"] == {"NCCL_IB_HCA": "rocep1s0f0"}, "of others not even the value"
    assert more["secrets"] == ["HF_TOKEN"]
    assert "hf_abcdefghijklmnopqr" not in str(one)
    assert more["command"][-4:] == ["--api-key", "(redacted)", "--port", "1"], "a key like any word, too"


@pytest.mark.parametrize(
    ("listed", "whose"),
    [
        ({"Labels": {"dgx-spark.base": "x"}}, "ours"),
        ({"Labels": {"dgx-spark.base": "x", "dgx-spark.validate": "soak"}}, ""),
        ({"Image": "nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5"}, "other"),
        ({"Image": "lmsysorg/sglang:latest"}, "other"),
        ({"Image": "sha256:1", "Names": ["/trtllm-multinode"]}, "other"),
        ({"Image": "ollama/ollama"}, "other"),
        ({"Image": "ghcr.io/open-webui/open-webui:ollama"}, ""),
        ({"Image": "minimal"}, ""),
    ],
)
def test_whose_engine_it_is(listed: dict[str, Any], whose: str) -> None:
    assert containers.serves(listed) == whose


def test_the_last_lines_of_a_log(engine: Any) -> None:
    found = containers.logs(engine.docker, ["vllm"])
    assert found["vllm"] == ["10%|#", "20%|## token hf_(redacted)", "last line here"]


def test_processes_of_a_container(engine: Any) -> None:
    assert containers.processes_of(engine.docker, ID) == [77]


def test_a_swarm_as_its_manager_sees_it(engine: Any) -> None:
    spec = {"GenericResources": [{"DiscreteResourceSpec": {"Kind": "NVIDIA_GPU", "Value": 1}}]}
    engine.answers["GET", "/nodes"] = [
        {
            "ID": "n",
            "Status": {"State": "down", "Addr": "10.0.0.2"},
            "Spec": {"Availability": "drain"},
            "Description": {"Hostname": "spark2", "Resources": None},
        }
    ]
    engine.answers["GET", "/services"] = [
        {"ID": "s", "Spec": {"Name": "x_worker", "TaskTemplate": {"Resources": {"Reservations": spec}}}},
        {"ID": "t", "Spec": {"Name": "alone", "TaskTemplate": {}}},
    ]
    engine.answers["GET", "/tasks"] = [
        {
            "ServiceID": "s",
            "NodeID": "",
            "DesiredState": "running",
            "Status": {"State": "pending", "Err": "no suitable node", "Timestamp": "2026-11-30T00:00:00Z"},
        }
    ]
    failed = {"State": "failed", "Err": "task: non-zero exit (255)", "Timestamp": "2026-11-30T00:05:00Z"}
    engine.answers["GET", "/tasks"] += [{"ServiceID": "s", "DesiredState": "shutdown", "Status": failed}] * 3
    found = containers.swarm(engine.docker, calendar.timegm((2026, 11, 30, 0, 6, 0)))
    assert found["nodes"] == [
        {"hostname": "spark2", "state": "down", "availability": "drain", "address": "10.0.0.2", "resources": []}
    ]
    fails = "x_worker has failed 3 times: task: non-zero exit (255)"
    assert (found["stuck"], found["reserved"]) == (["x_worker is pending: no suitable node", fails], ["NVIDIA_GPU"])
    later = containers.swarm(engine.docker, calendar.timegm((2026, 11, 30, 0, 30, 0)))
    assert later["stuck"] == ["x_worker is pending: no suitable node"], "what ended long ago is over"


def test_a_docker_that_does_not_answer_is_unread(tmp_path: Path) -> None:
    with pytest.raises(UnreadError, match="does not answer"):
        containers.docker_info(Docker(str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ([], [], "")),
        ('{"node-generic-resources": ["gpu=GPU-1"], "default-runtime": "runc"}', ([], ["gpu=GPU-1"], "runc")),
        ('{"x": ', None),
        ('{"live-restore": true}', "live-restore"),
        ('{"default-runtime": "nvidia"}', "default runtime 'nvidia'"),
    ],
)
def test_the_configuration(tmp_path: Path, text: str, found: Any) -> None:
    (tmp_path / "daemon.json").write_text(text)
    config = containers.configuration("active", str(tmp_path / "daemon.json"))
    if isinstance(found, tuple):
        assert (config["problems"], config["resources"], config["default_runtime"]) == found
    else:
        assert found is None or found in config["problems"][0]
        assert len(config["problems"]) == 1


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    assert containers.configuration("", str(tmp_path / "none"))["problems"] == []


def test_the_toolkit(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('#swarm-resource = "X"\n[nvidia-container-cli]\n')
    assert containers.toolkit(str(path))["swarm_resource"] == ""
    path.write_text('swarm-resource = "DOCKER_RESOURCE_GPU"\n')
    assert containers.toolkit(str(path))["swarm_resource"] == "DOCKER_RESOURCE_GPU"
    path.write_text("swarm-resource = 3\n")
    with pytest.raises(UnreadError, match="correct it by hand"):
        containers.toolkit(str(path))


@pytest.mark.parametrize(
    ("name", "state", "found"),
    [
        ("db", "running", (False, False)),
        ("dgx-spark-validate", "exited", (True, False)),
        ("dgx-spark-validate", "running", (True, True)),
    ],
)
def test_what_a_validation_left(tmp_path: Path, name: str, state: str, found: tuple[bool, bool]) -> None:
    left = containers.trial_left([{"name": name, "state": state}], tmp_path / "none")
    assert (left["there"], left["running"]) == found
    assert containers.trial_left([], tmp_path)["there"]


@pytest.mark.parametrize(
    ("said", "rests"),
    [
        ((0, "LoadState=loaded\nActiveState=inactive\n"), True),
        ((0, "LoadState=loaded\nActiveState=failed\n"), True),
        ((0, "LoadState=loaded\nActiveState=active\n"), False),
        ((0, "LoadState=loaded\nActiveState=activating\n"), False),
        ((0, "LoadState=not-found\nActiveState=inactive\n"), False),  # one that systemd does not start
        ((1, "System has not been booted with systemd"), False),
        ((127, ""), False),
    ],
)
def test_a_docker_that_rests_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, engine: Any, said: tuple[int, str], rests: bool
) -> None:
    """Since systemd starts it for whoever connects to its socket."""
    monkeypatch.setattr(service, "run", lambda _argv: said)
    assert service.awake(engine.docker) is engine.docker, "of another socket systemd knows nothing"
    usual = Docker()
    if rests:
        with pytest.raises(UnreadError, match="Docker is stopped"):
            service.awake(usual)
    else:
        assert service.awake(usual) is usual


def test_a_doctor_and_a_status_leave_a_stopped_docker_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def wake(*_words: Any) -> Any:
        raise AssertionError("it was asked")

    monkeypatch.setattr(service, "run", lambda _argv: (0, "LoadState=loaded\nActiveState=inactive\n"))
    monkeypatch.setattr(Docker, "_answer", wake)
    found, unread = facts.read(facts.Asked(seconds=20))
    assert "docker" not in found
    for part in ("docker", "containers", "logs", "ranks"):
        assert unread[part].startswith("Docker is stopped"), unread


def test_a_unit_that_systemd_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "run", lambda _argv: (1, "System has not been booted with systemd\n as init"))
    with pytest.raises(UnreadError, match="has not been booted with systemd as init"):
        containers.unit("docker.service")
    monkeypatch.setattr(containers, "tool", lambda _name: "/usr/bin/docker")
    unread = containers.docker_service()
    assert (bool(unread["problem"]), unread["rests"]) == (True, False)
    monkeypatch.setattr(containers, "tool", lambda _name: None)
    assert containers.docker_service() == {"installed": False, "unit": {}, "rests": False, "problem": ""}


@pytest.mark.parametrize(
    ("state", "rests"),
    [("inactive", True), ("failed", True), ("deactivating", True), ("active", False), ("activating", False)],
)
def test_a_docker_whose_unit_rests(monkeypatch: pytest.MonkeyPatch, state: str, rests: bool) -> None:
    monkeypatch.setattr(containers, "tool", lambda _name: "/usr/bin/docker")
    monkeypatch.setattr(containers, "run", lambda _argv: (0, f"LoadState=loaded\nActiveState={state}\n"))
    found = containers.docker_service()
    assert (found["unit"]["active"], found["rests"]) == (state, rests)
