# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call reads a Spark: what Docker, files and programs tell, and why a part was not read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Iterator

import damaged
import fake_docker
import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import service
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._status import host
from ansible_collections.sparkops.dgx_spark.plugins.modules import engine_status_info
from hypothesis import HealthCheck, given, settings

NAME = "dgx-spark-trtllm"
INSPECTED: dict[str, Any] = {
    "Id": "c0",
    "Name": f"/{NAME}_worker.1.x",
    "Image": "sha256:aa",
    "State": {"Status": "running", "StartedAt": "2026-11-30T03:12:45Z", "ExitCode": 0},
    "Config": {"Env": ["DGX_SPARK_CONFIG=c0ffee"], "Labels": {}},
    "Mounts": [{"Destination": "/models", "Source": "/c/models--a--b"}],
}
ENDED = {**INSPECTED, "Id": "c1", "State": {"Status": "exited", "StartedAt": "2026-11-30T03:20:45Z", "ExitCode": 1}}
LABELS = {"com.docker.stack.namespace": NAME}
NODE = {
    "ID": "n1",
    "Spec": {"Availability": "drain", "Labels": {"dgx_spark.rank": "1"}},
    "Status": {"State": "down", "Message": "heartbeat failure"},
    "Description": {"Hostname": "spark2"},
}
TASK = {
    "ServiceID": "s1",
    "Status": {"State": "pending", "Timestamp": "2026-11-30T03:00:00.5Z", "Err": "no suitable node"},
    "DesiredState": "running",
}
NOW = 1796008365.0


def answers() -> dict[tuple[str, str], Any]:
    return {
        ("GET", "/containers/json"): [
            {"Id": "c1", "Names": [f"/{NAME}_worker.1.y"], "Labels": LABELS},
            {"Id": "c0", "Names": [f"/{NAME}_worker.1.x"], "Labels": LABELS},
            {"Id": "gone", "Names": [f"/{NAME}"], "Labels": {}},
            {"Id": "foreign", "Names": ["/other"], "Labels": {}},
        ],
        ("GET", "/containers/c0/json"): INSPECTED,
        ("GET", "/containers/c1/json"): ENDED,
        ("GET", "/images/sha256:aa/json"): {
            "Id": "sha256:aa",
            "RepoTags": ["dgx-spark/trtllm-serve:01"],
            "RepoDigests": [],
            "Config": {"Labels": {"dgx-spark.base": "nvcr.io/x:1"}},
        },
        ("GET", "/images/nvcr.io/x:1/json"): {"Id": "sha256:bb", "RepoDigests": ["nvcr.io/x@sha256:cc"]},
        ("GET", "/nodes"): [NODE],
        ("GET", "/services"): [{"ID": "s1", "Spec": {"Name": f"{NAME}_worker"}}],
        ("GET", "/tasks"): [TASK],
    }


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Any]:
    """SIMULATED: a Docker that has containers of the serving, and is a Swarm's manager."""
    one = fake_docker.Engine()
    one.info.update(ServerVersion="28.3.3", Swarm={"ControlAvailable": True, "LocalNodeState": "active"})
    one.answers.update(answers())
    with fake_docker.listening(one, tmp_path / "docker.sock") as path:
        one.path = path
        yield one


@pytest.fixture
def look(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    original = host.configured
    monkeypatch.setattr(host, "configured", lambda: original(tmp_path / "etc", tmp_path / "lib"))
    monkeypatch.setattr(engine_status_info, "Docker", lambda timeout: Docker(engine.path, timeout))
    monkeypatch.setattr(
        engine_status_info, "run", lambda argv: (127, "", "") if argv[0] == "nvidia-smi" else (0, "", "")
    )

    def run(**options: Any) -> dict[str, Any]:
        with patch_module_args({"interval": 0.05, **options}), pytest.raises(SystemExit):
            engine_status_info.main()
        return json.loads(capsys.readouterr().out)

    return run


def configure(root: Path) -> None:
    folder = root / "etc" / "trtllm"
    folder.mkdir(parents=True)
    cluster = {"engine": {"name": "trtllm"}, "nodes": [{"name": "spark1"}, {"name": "spark2"}]}
    (folder / "cluster.json").write_text(json.dumps(cluster))


def test_docker_tells_containers_images_and_the_swarm(engine: Any) -> None:
    found = host.docker_of(Docker(engine.path), [NAME], NOW)
    assert [one["state"] for one in found["containers"][NAME]] == ["running", "exited"], "what runs comes first"
    assert found["images"]["sha256:aa"] == {
        "name": "dgx-spark/trtllm-serve:01",
        "id": "sha256:aa",
        "digest": "",
        "base": "nvcr.io/x:1",
        "base_digest": "sha256:cc",
    }
    swarm = found["swarm"]
    assert swarm["nodes"] == [
        {
            "hostname": "spark2",
            "state": "down",
            "message": "heartbeat failure",
            "availability": "drain",
            "leader": False,
            "rank": 1,
        }
    ]
    assert swarm["refused"] == {NAME: [f"{NAME}_worker is pending: no suitable node"]}
    assert engine.told == [], "nothing was changed"


def test_a_worker_of_the_swarm_is_not_asked_what_a_manager_knows(engine: Any) -> None:
    engine.info["Swarm"] = {"ControlAvailable": False, "LocalNodeState": "active"}
    for name in ("/nodes", "/tasks"):
        engine.answers[("GET", name)] = (503, {"message": "This node is not a swarm manager."})
    swarm = host.docker_of(Docker(engine.path), [NAME], NOW)["swarm"]
    assert (swarm["state"], swarm["nodes"], swarm["refused"]) == ("active", [], {})


def test_the_module_works_where_nothing_of_ours_is(look: Callable[..., Any]) -> None:
    found = look()
    assert found["changed"] is False
    assert found["read"]["instances"] == []
    assert found["read"]["docker"]["containers"] == {}
    assert found["read"]["units"] == {}
    assert found["read"]["machine"]["memory"]["total_mib"] > 0
    assert list(found["unread"]) == ["gpus"]


def test_the_module_tells_an_instance_that_it_was_not_told_of(look: Callable[..., Any], tmp_path: Path) -> None:
    configure(tmp_path)
    found = look()
    assert [one["name"] for one in found["read"]["instances"]] == [NAME]
    assert len(found["read"]["docker"]["containers"][NAME]) == 2


def test_a_docker_that_does_not_answer_is_told_and_no_failure(look: Callable[..., Any], engine: Any) -> None:
    engine.path = "/nowhere/docker.sock"
    found = look()
    assert not found.get("failed")
    assert "Docker Engine does not answer" in found["unread"]["docker"]
    assert "machine" in found["read"]


def test_a_docker_that_is_stopped_is_not_woken(
    look: Callable[..., Any], engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.path = service.SOCKET
    monkeypatch.setattr(service, "run", lambda _argv: (0, "LoadState=loaded\nActiveState=failed\n"))
    monkeypatch.setattr(Docker, "_answer", None)
    assert look()["unread"]["docker"].startswith("Docker is stopped (docker.service is failed)")


@pytest.mark.parametrize("options", [{"interval": 0}, {"interval": 11}, {"seconds": 0}, {"seconds": 1000}])
def test_a_time_that_is_none_is_refused(look: Callable[..., Any], options: dict[str, float]) -> None:
    found = look(**options)
    assert found["failed"]
    assert found["msg"].endswith("Nothing was changed.")


def test_whatever_docker_answers_the_others_are_told(look: Callable[..., Any], engine: Any, tmp_path: Path) -> None:
    configure(tmp_path)
    good = [[list(key), value] for key, value in answers().items()]

    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    @given(damaged.values([value for _key, value in good], whole=False))
    def check(told: Any) -> None:
        engine.answers.update({tuple(key): value for (key, _value), value in zip(good, told)})
        found = look()
        assert not found.get("failed")
        assert "docker" in found["read"] or "docker" in found["unread"]
        assert "machine" in found["read"]

    check()


def test_an_error_of_docker_other_than_gone_is_no_silence(engine: Any) -> None:
    engine.answers[("GET", "/containers/c0/json")] = (500, {"message": "input/output error"})
    with pytest.raises(DockerError, match="input/output error"):
        host.docker_of(Docker(engine.path), [NAME], NOW)
