# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor's module reads any host, this one too, whatever Docker answers, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import fake_docker
import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import containers, facts
from ansible_collections.sparkops.dgx_spark.plugins.modules import spark_host_info
from damaged import values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture
def look(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def run(**options: Any) -> dict[str, Any]:
        with patch_module_args({"reach": [""], "seconds": 40, **options}), pytest.raises(SystemExit):
            spark_host_info.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_this_host_is_read_whatever_it_is(look: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(containers, "engine", lambda: Docker(str(tmp_path / "none"), timeout=1))
    found = look()
    assert not found["changed"]
    assert {"host", "memory", "disks", "ports", "addresses", "links", "netplan", "card"} <= set(found["read"]), found[
        "unread"
    ]
    assert "Docker Engine does not answer" in found["unread"]["docker"]
    assert all(found["unread"][name] for name in ("logs", "ranks", "nccl", "validation")), "they go by the containers"
    assert not set(found["read"]) & set(found["unread"])
    assert found["at"] > 1.7e9


def test_a_docker_that_answers(look: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    engine = fake_docker.Engine()
    engine.info.update(Swarm={"LocalNodeState": "active", "ControlAvailable": True}, DockerRootDir="/var/lib/docker")
    engine.answers.update({("GET", f"/{name}"): [] for name in ("nodes", "tasks", "services")})
    with fake_docker.listening(engine, tmp_path / "docker.sock") as path:
        monkeypatch.setattr(containers, "engine", lambda: Docker(path))
        found = look()
    assert found["read"]["containers"] == []
    assert found["read"]["swarm"] == {"nodes": [], "stuck": [], "reserved": []}
    assert found["read"]["ranks"]["processes"] == []
    assert engine.told == [], "nothing but questions"


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_docker_answers_is_no_traceback(data: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    answers = {
        "docker_info": {"ServerVersion": "29", "Swarm": {"RemoteManagers": [{"Addr": "x"}]}, "GenericResources": []},
        "containers": [{"Id": "a", "Names": ["/vllm"], "Image": "vllm", "Labels": {}, "State": "running"}],
    }
    name = data.draw(st.sampled_from(sorted(answers)))
    answer = data.draw(values(answers[name]))

    class Engine:
        def ask(self, _method: str, target: str) -> Any:
            return (
                answer if target != "/containers/a/json" else {"HostConfig": answer, "Config": answer, "State": answer}
            )

    part = {"docker_info": containers.docker_info, "containers": containers.containers}[name]
    read, unread = facts.every_part({name: lambda: part(Engine())}, 20)
    assert (name in read) != (name in unread)
    assert all(isinstance(why, str) and why for why in unread.values())
